"""Stores for a quota that several processes share: each process leases parts of its time line in advance.

1. A client sends one request (`Ask`) with everything it has to report: what it wants, what it returns,
   how many of its calls the judge refused, and whether it is leaving. A request is one operation of the
   store.
2. The store appends a chunk to the quota's time line and returns the chunk's start. A chunk is at most
   the client's fair share of `chunk_s`, so clients that all want more take turns. A client that requests
   nothing leaves the line to others.
3. The client waits until the start, spends the chunk without further requests, and requests the next.

Worked example: a quota of 600 calls a minute (10 a second), and two clients that want 100 calls each.
At t = 0 client A is alone: it gets 0.5 s of the quota, 5 calls, which start at once. Then client B sends
a request. There are two clients, so it gets 0.25 s, rounded down to 2 calls, which start at t = 0.5 s and
take 0.2 s of the line. A's next 2 calls start at t = 0.7 s, and B's next 2 at t = 0.9 s.

The time line is the theoretical arrival time of GCRA, one number for each resource, on the store's clock.
Time moves it on, so a crashed client leaves nothing reserved. It holds no credit, so a store that has lost
its memory starts without a burst. The clients still hold the leases that such a store had granted: each
sends what it knows of the old line with its next request (`Ask.seen`, `taken_s`), and the new line starts
after that.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from judge_service.errors import JudgeServiceError


class StoreFailed(JudgeServiceError):
    """The store did not answer in time, or its answer was not a lease."""


class Rules(Struct, frozen=True, kw_only=True):
    """The rules by which a store grants leases. All stores have the same rules.

    chunk_s: one chunk is a client's share of this many seconds. Simulated with 0.5: the worst window of
        60 s exceeds the quota by under 1 %, at 2 operations a second for each client.
    batch_calls: a chunk covers at least this many calls, so that operations stay below a tenth of the
        calls when shares are small.
    batch_s, round_s: limits of `batch_calls`. It never takes more of the time line than `batch_s`, nor so
        much that a round of all clients takes over `round_s`: a new client may have to wait for a round.
    valid_s: how long a lease may be spent, from its start.
    lag_s: how far a resource's line may be behind the line of the scarcest resource. Calls that are
        expensive in different resources can then share the time; the value limits a later burst.
    active_s: how long a client is counted after the start of its lease.
    alone_share: the part of its share that a client uses while it has lost the store.
    learning_s: how long, after the first such client has returned, the store reserves that part for the
        clients that have not.
    keep_s: an unused quota is removed after this time.
    """

    chunk_s: float = 0.5
    batch_calls: int = 12
    batch_s: float = 0.25
    round_s: float = 10.0
    valid_s: float = 1.0
    lag_s: float = 0.25
    active_s: float = 2.0
    alone_share: float = 0.8
    learning_s: float = 1.5
    keep_s: float = 60.0


class Ask(Struct, frozen=True, kw_only=True):
    """A client's request to the store.

    client: the client's name, unique among the clients of the quota.
    per_minute: the quota, units a minute by resource, > 0.
    want: units for the time ahead; empty to lease nothing.
    least: units of one call; a smaller lease would be useless.
    returned: unspent units of earlier leases.
    sent, refused: finished calls since the last request, and how many of them the judge refused because
        of its quota. pace: the value of `Lease.pace` when they were sent.
    lost_clients: how many clients shared the quota when this client lost the store, 0 if it did not.
    leaving: whether this is the client's last request.
    seen: `Lease.seen` of the store's last answer to this client; empty for a new client.
    taken_s, clients: how long the time line is taken from now, and how many clients share it, according
        to that answer. Only a store that has no record of the answer reads them.
    """

    client: str
    per_minute: Mapping[str, float]
    want: Mapping[str, int] = {}
    least: Mapping[str, int] = {}
    returned: Mapping[str, int] = {}
    sent: int = 0
    refused: int = 0
    pace: float = 1.0
    lost_clients: int = 0
    leaving: bool = False
    seen: str = ""
    taken_s: float = 0.0
    clients: int = 1


class Lease(Struct, frozen=True, kw_only=True):
    """The units that a client may spend, and when.

    granted: units by resource, at most the wanted ones; empty if none were wanted.
    delay_s: seconds from now until the lease starts.
    valid_for_s: seconds from its start until it ends.
    clients: how many clients share the quota now, at least 1.
    pace: the part of the quota that is granted, in (0, 1], below 1 after refusals. It is the same for all
        clients: the store sees all their calls, so the share controller of each client is not used.
    seen: identifies this answer, for `Ask.seen`; empty if the store cannot lose its memory.
    taken_s: seconds from its start for which the time line is taken by this lease and, if it had to
        wait, by a lease of each other client.
    """

    granted: Mapping[str, int]
    delay_s: float
    valid_for_s: float
    clients: int
    pace: float = 1.0
    seen: str = ""
    taken_s: float = 0.0


class QuotaStore(Protocol):
    """Grants leases of quotas to clients. Its `repr` is one line that `judge explain` prints."""

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """Grants a lease in one operation. quota: its name, the same for all clients that share it.

        Raises StoreFailed, within a bounded time.
        """

    async def aclose(self) -> None: ...
