"""Where several processes share one quota: they lease pieces of its time line, ahead and in chunks.

1. A client says what it wants, and with it everything else it has to say: what it gives back, how many
   of its calls the judge refused, that it is leaving. One call, one operation of the store.
2. The store appends a chunk to the quota's time line and says when it begins. A chunk is at most the
   client's fair share of `chunk_s`, so clients who all want more take turns; who asks for nothing
   leaves the line to others.
3. The client waits until then, spends the chunk without asking anybody, and asks for the next one.

The time line is GCRA's theoretical arrival time, one number a resource, on the store's clock. It
passes by itself, so that a crashed client leaks nothing; it holds no credit, so that a store which
has forgotten everything starts without a burst. What such a store had dealt out is still in the
clients' hands: each brings what it knows of the old line with its next ask (`Ask.seen`, `taken_s`),
and the new line begins behind that.
"""

from collections.abc import Mapping
from typing import Protocol

from msgspec import Struct

from judge_service.errors import JudgeServiceError


class StoreFailed(JudgeServiceError):
    """The store did not answer in time, or not with a lease."""


class Rules(Struct, frozen=True, kw_only=True):
    """How a store deals out; all stores get the same, so that none has numbers of its own.

    chunk_s: a client's share of so many seconds is one chunk. Simulated with 0.5: the worst 60 s
        window holds under +1 %, at 2 operations a second and client.
    batch_calls: a chunk covers at least so many calls, so that operations stay below a tenth of the
        calls when shares are small.
    batch_s, round_s: but it never takes more of the time line than `batch_s`, nor so much that a
        round of all clients takes over `round_s`, which is what a newcomer may have to wait.
    valid_s: from its beginning, a lease may be spent for so long.
    lag_s: how far a resource's line may lag behind the one that binds; it lets calls that are dear
        in different resources share the time, and bounds how they may bunch afterwards.
    active_s: a client is counted for so long after its lease has begun.
    alone_share: a client that has lost the store spends this part of its share on its own.
    learning_s: for so long after the first has come back, that is left to those who have not.
    keep_s: an unused quota is forgotten after so long.
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
    """What a client says to the store.

    client: its name, unique among those who share the quota.
    per_minute: the quota, units a minute by resource, > 0.
    want: units for the time ahead; empty to lease nothing.
    least: units of one call, below which a lease would be of no use.
    returned: units of earlier leases that were not spent.
    sent, refused: calls since the last ask whose end is known, and how many of them the judge refused
        because of its quota. pace: what `Lease.pace` was when they were sent.
    lost_clients: how many shared the quota when this client lost the store, 0 if it did not.
    leaving: this client will not ask again.
    seen: the store's last answer to this client, as `Lease.seen` named it; empty for a newcomer.
    taken_s, clients: what that answer and its lease told: for how long from now the time line is taken,
        and how many share it. Only a store that does not remember the answer reads them.
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
    """What a client may spend.

    granted: units by resource, of each at most what was wanted; empty if nothing was.
    delay_s: seconds from now at which it begins.
    valid_for_s: seconds from its beginning at which it ends.
    clients: how many share the quota now, at least 1.
    pace: the part of the quota that is dealt out, in (0, 1], below 1 after refusals. One for all
        clients: the store sees all their calls, and the share controller of each is out of work.
    seen: names this answer, for `Ask.seen`; empty if the store cannot forget.
    taken_s: seconds from its beginning for which the time line is taken: by this lease, and if it had to
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
    """Deals out quotas to clients. Its `repr` is one line that `judge explain` prints."""

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """One operation. quota: which one; clients who share it give the same name.

        Raises StoreFailed, within a bounded time.
        """

    async def aclose(self) -> None: ...
