"""A store in a DynamoDB table, for functions that have no private network and so no Redis nearby.

The time line is cut into slices of 0.5 s. Each slice is an item with one counter for each resource. A lease
is one conditional update (`ADD` if it fits) without a read before it. The clients' clocks do not
change the size of a slice. The refusal of a full slice contains its content, and the client continues with
the next slice.

Table: partition key `slice` (string), time to live on `expires_at`. One item takes 1,000 writes a
second, whatever the table's capacity: 500 clients that lease a chunk every 0.5 s.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow.stores import Ask, Lease, Rules, StoreFailed
from judge_service.flow.stores.slices import SLICE_S, Known, Slice, mark_of, portion, slice_ms

MAX_SLICES = 4
"""Slices tried for one lease. If all are full, the client gets nothing and tries again 1 to 2 slices on."""

WORTH_A_WRITE = 0.25
"""The rest of a slice is taken if it is at least this part of the wanted units; else the next is tried."""

BATCH_CALLS = 30
"""`Rules.batch_calls` of this store: more than in others, because a lease takes one to three updates."""

MAX_CHUNK_S = 4.0
CALM_S = 10.0
"""Seconds after an overload of the table until chunks become shorter again."""

BACKOFF_S = 0.1
KEEP_S = 3600
"""Time to live, seconds. DynamoDB may delete days later; nothing depends on it."""

TIMEOUT_S = 1.0
"""Longest time of one update, seconds. It takes 5 to 20 ms, and 200 ms on a new connection."""

Send = Callable[[Mapping[str, Any]], Awaitable[tuple[int, bytes]]]
"""Signs and sends one UpdateItem, once. Returns the reply's status and body. May raise CallError."""

_OVERLOADED = frozenset(
    {
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
        "InternalServerError",
    }
)


class DynamoDBStoreStatistics(Struct, frozen=True, kw_only=True):
    """Counts of the store.

    updates: updates sent. full: updates refused because the slice had no room. overloaded: updates refused
        because the table was overloaded.
    chunk_s: seconds of its share that a client leases at once.
    clients: by quota, an estimate of how many share it.
    """

    updates: int
    full: int
    overloaded: int
    chunk_s: float
    clients: Mapping[str, int]


class DynamoDBStore:
    """Quotas shared through a DynamoDB table.

    table: the name of an existing table, see above.
    send: sends a request to the table; its owner closes it.
    clock: seconds since 1970. Clients whose clocks differ lease from different slices, but never more.

    Returned units (`Ask.returned`) are not granted to others, because their slice has passed.
    """

    def __init__(
        self,
        table: str,
        *,
        send: Send,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._table = table
        self._ask = send
        self._rules = rules or Rules(batch_calls=BATCH_CALLS, batch_s=SLICE_S)
        self._clock = clock
        self._chunk_s = self._rules.chunk_s
        self._overloaded_at_s = 0.0
        self._quotas: dict[str, Known] = {}
        self._updates = self._full = self._overloaded = 0

    def __repr__(self) -> str:
        return f"DynamoDBStore({self._table})"

    def statistics(self) -> DynamoDBStoreStatistics:
        """The counts so far."""
        return DynamoDBStoreStatistics(
            updates=self._updates,
            full=self._full,
            overloaded=self._overloaded,
            chunk_s=self._chunk_s,
            clients={name: quota.clients for name, quota in self._quotas.items()},
        )

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """Leases with one update, and one more for each full slice; tries at most `MAX_SLICES` slices.

        Raises StoreFailed.
        """
        known = self._quotas.setdefault(quota, Known())
        known.clients = max(known.clients, ask.lost_clients)
        if not ask.want:
            return self._reply(known, {}, 0.0)
        length_s = slice_ms(ask.per_minute) / 1000
        base = max(known.last_slice, int(self._clock() / length_s))
        for index in range(base + known.lead, base + known.lead + MAX_SLICES):
            if granted := await self._take(known, ask, Slice(quota, index, length_s)):
                known.find(index, base)
                return self._reply(known, granted, index * length_s - self._clock())
        known.lead += MAX_SLICES
        return self._reply(known, {}, (1 + random.random()) * length_s)

    async def aclose(self) -> None:
        """Does nothing: the store has nothing open."""

    def _reply(self, known: Known, granted: dict[str, int], delay_s: float) -> Lease:
        return Lease(
            granted=granted,
            delay_s=max(0.0, delay_s),
            valid_for_s=self._rules.valid_s,
            clients=known.clients,
            pace=known.share.level,
        )

    async def _take(self, known: Known, ask: Ask, at: Slice) -> dict[str, int]:
        """Takes the units from one slice, or the rest of it if that is large enough, or nothing."""
        part = known.share.level
        holds = {name: at.holds(ask.per_minute[name], part) for name in ask.want}
        share_s = self._chunk_s / known.clients
        units = portion(ask, holds, share_s, at.length_s, self._rules)
        used = await self._update(known, ask, at, units, holds)
        if used is None:
            return units
        left = {name: holds[name] - int(used.get(name, {}).get("N", 0)) for name in units}
        if any(left[name] < amount * WORTH_A_WRITE for name, amount in units.items()):
            return {}
        rest = {name: min(left[name], amount) for name, amount in units.items()}
        return rest if await self._update(known, ask, at, rest, holds) is None else {}

    async def _update(
        self,
        known: Known,
        ask: Ask,
        at: Slice,
        units: Mapping[str, int],
        holds: Mapping[str, int],
    ) -> Mapping[str, Any] | None:
        """Sends the update. Returns `None` if the slice had room, else the content of the slice."""
        request = _request(ask, units, holds, known.told(ask))
        request["TableName"] = self._table
        request["Key"] = {"slice": {"S": f"{at.quota}#{at.index}"}}
        request["ExpressionAttributeValues"][":end"] = {"N": str(int(self._clock()) + KEEP_S)}
        item, is_full = await self._send(request)
        known.learn(item, at.index, self._clock())
        self._full += is_full
        return item if is_full else None

    async def _send(self, request: dict[str, Any]) -> tuple[Mapping[str, Any], bool]:
        """Sends a request; if the table is overloaded, up to two times more, after waits with full jitter."""
        for wait_s in (BACKOFF_S, 2 * BACKOFF_S, None):
            self._updates += 1
            status, said = await self._answer(request)
            if status == 200:
                self._speed_up()
                return said.get("Attributes", {}), False
            code = str(said.get("__type", status)).rpartition("#")[2]
            if code == "ConditionalCheckFailedException":
                return said.get("Item", {}), True
            if code not in _OVERLOADED or wait_s is None:
                why = said.get("message", said.get("Message", ""))
                raise StoreFailed(f"{self!r} gave no lease: {code} {why}")
            self._slow_down()
            await asyncio.sleep(random.random() * wait_s)
        raise StoreFailed(f"{self!r} is overloaded")

    async def _answer(self, request: dict[str, Any]) -> tuple[int, Mapping[str, Any]]:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                status, body = await self._ask(request)
            said = msgspec.json.decode(body, type=dict[str, Any]) if body else {}
        except (CallError, OSError, TimeoutError, msgspec.DecodeError) as problem:
            raise StoreFailed(f"{self!r} gave no lease: {problem!r}") from problem
        return status, said

    def _slow_down(self) -> None:
        """Makes chunks longer, so that there are fewer updates."""
        self._overloaded += 1
        self._overloaded_at_s = self._clock()
        self._chunk_s = min(2 * self._chunk_s, MAX_CHUNK_S)

    def _speed_up(self) -> None:
        is_calm = self._clock() - self._overloaded_at_s > CALM_S
        if is_calm and self._chunk_s > self._rules.chunk_s:
            self._overloaded_at_s = self._clock()
            self._chunk_s = max(self._rules.chunk_s, self._chunk_s / 2)


def _request(
    ask: Ask, units: Mapping[str, int], holds: Mapping[str, int], told: Mapping[str, int]
) -> dict[str, Any]:
    """Builds the update: `ADD` to each counter, on condition that it stays within the size of the slice.

    told: added to the slice's counts of calls that were sent and refused.
    """
    names = {"#marks": "marks", "#end": "expires_at"}
    values: dict[str, Any] = {":mark": {"NS": [str(mark_of(ask.client))]}}
    adds, conditions = ["#marks :mark"], []
    for position, (name, amount) in enumerate(units.items()):
        counter, taken, room = f"#r{position}", f":n{position}", f":room{position}"
        names[counter] = name
        values[taken] = {"N": str(amount)}
        values[room] = {"N": str(holds[name] - amount)}
        adds.append(f"{counter} {taken}")
        conditions.append(f"(attribute_not_exists({counter}) OR {counter} <= {room})")
    for name, calls in told.items():
        names[f"#{name}"] = name
        values[f":{name}"] = {"N": str(calls)}
        adds.append(f"#{name} :{name}")
    return {
        "UpdateExpression": f"SET #end = :end ADD {', '.join(adds)}",
        "ConditionExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": names,
        "ExpressionAttributeValues": values,
        "ReturnValues": "ALL_NEW",  # it contains the refused calls of other clients, at the same price
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }
