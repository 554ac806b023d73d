"""A quota lease: feeds a gate from a quota that several processes share through a store.

The hot path takes from the gate's own buckets and never waits for the store. One task leases ahead: it
asks when the gate runs low, waits until the lease begins, fills the buckets, and asks again.
"""

import asyncio
import logging
import os
import random
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from math import ceil
from typing import Protocol

from msgspec import Struct

from judge_service.flow import stray
from judge_service.flow.admission.permit import GateStatistics
from judge_service.flow.stores import Ask, Lease, QuotaStore, Rules, StoreFailed
from judge_service.telemetry.events import Sink, StoreBack, StoreLost, ignore

FIRST_ASK_S, AHEAD_S = 0.5, 1.0
"""The first request to the store is at a random time in the first half second, so that 400 instances do not
ask at once. A lease should last a second at the rate of the last one, which is as long as it is valid."""

MIN_SPAN_S = 0.25
"""Shortest time over which the rate is measured; else ten calls at once would look like 1,000 a second."""

ALONE_SHARE = Rules().alone_share
"""Part of its share that a process uses while the store is lost, because it does not see the others."""

KNOWN_S = 10.0
"""How long the known number of clients is valid, seconds: a round of all clients takes no longer."""

PATIENCE_S = 1.5
"""How long a process that does not know the others retries a late store before it continues alone, seconds.
When many processes start or are thawed at once, all connect at once, and replies are late for a
moment; each would then use its assumed share, which may be nearly the whole quota."""

GIVE_BACK_S = 1.0
"""How long after its end the unspent units of a lease can still be returned, seconds."""

RETRY_S = (0.1, 1.0)
"""A lost store is tried after a random time between these, seconds, so that the return takes under 2 s."""

LOOK_AGAIN_S = 0.05
"""Interval of checks for waiting calls that have enough units but must not be sent yet, seconds."""

FROZEN_S = 0.5
"""A timer that is late by this, seconds, means that the process was frozen, so its leases have expired."""

NEWS_EVERY_S = 1.0
"""Interval in which refused calls are reported to the store although no units are needed, seconds."""

_log = logging.getLogger("judge_service")


class Limiter(Protocol):
    """The methods of `Gate` that a lease uses; described there."""

    on_need: Callable[[], None] | None

    def set_rates(self, per_minute: Mapping[str, float]) -> None: ...

    def add(self, units: Mapping[str, int], capacity: Mapping[str, int] | None = None) -> None: ...

    def drop(self) -> None: ...

    def backlog(self) -> Mapping[str, float]: ...

    def take_known(self) -> tuple[int, int]: ...

    def statistics(self) -> GateStatistics: ...


class QuotaLeaseStatistics(Struct, frozen=True, kw_only=True):
    """asked: operations of the store. failed: those without an answer. leased: leases begun.

    is_alone: the store is lost. clients: the last known number of clients.
    pace: the part of the quota that the store leases out, below 1 after throttling.
    """

    asked: int
    failed: int
    leased: int
    is_alone: bool
    clients: int
    pace: float


class QuotaLease:
    """The leases of one process of a shared quota. Call `start` on the loop, and `aclose` at the end.

    limiter: from `start` on only leases fill it.
    quota: the store's name for it, the same in all processes.
    per_minute: the whole quota by resource, as in the limiter.
    expected_clients: expected number of clients, >= 1; used until the first answer of the store.
    client: this process's name, unique; made up by default.

    A lost store neither stops the judge nor removes its limits: until it is back this process
    uses 0.8 of its share of the quota, which the limiter lowers further if the judge throttles.
    """

    def __init__(
        self,
        limiter: Limiter,
        *,
        store: QuotaStore,
        quota: str,
        per_minute: Mapping[str, float],
        expected_clients: int = 1,
        client: str | None = None,
        sink: Sink = ignore,
    ) -> None:
        self._limiter = limiter
        self._store = store
        self._quota = quota
        self._per_minute = dict(per_minute)
        self._client = client or f"{socket.gethostname()}.{os.getpid()}.{random.randbytes(3).hex()}"
        self._sink = sink
        self._need = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._clients, self._pace, self._is_alone = expected_clients, 1.0, False
        self._spent_pace = 1.0
        self._known_until_s = self._returned_until_s = 0.0
        self._asked = self._failed = self._leased = self._throttled = 0
        self._least = dict.fromkeys(per_minute, 1)
        self._held = dict.fromkeys(per_minute, 0.0)
        self._use_per_s = dict.fromkeys(per_minute, 0.0)
        self._returned: dict[str, int] = {}
        self._ahead: Mapping[str, int] = {}
        self._filled_at_s = self._paid_until_s = self._told_at_s = 0.0
        self._seen, self._taken_until_s = "", 0.0

    def __repr__(self) -> str:
        return f"QuotaLease({self._quota} through {self._store!r})"

    def statistics(self) -> QuotaLeaseStatistics:
        """The counts so far."""
        return QuotaLeaseStatistics(
            asked=self._asked,
            failed=self._failed,
            leased=self._leased,
            is_alone=self._is_alone,
            clients=self._clients,
            pace=self._pace,
        )

    def start(self) -> None:
        """Takes over the limiter: from now on only leases fill it."""
        self._filled_at_s = asyncio.get_running_loop().time()
        self._limiter.on_need = self._need.set
        self._task = asyncio.create_task(self._run(), name=f"lease {self._quota}")
        self._limiter.set_rates(dict.fromkeys(self._per_minute, 0.0))
        self._limiter.drop()  # it starts full, of the whole quota

    def thaw(self) -> None:
        """Drops all leases, begun or not, because they expired while the process was frozen.

        A request to the store that is in flight is dropped too, because its reply may be as old as the
        freeze. While the store is lost there are no leases.
        """
        if self._task is None or self._is_alone:
            return
        self._task.cancel()
        self._stop_timer()
        self._ahead = {}
        self._limiter.drop()
        self._held, self._returned = dict.fromkeys(self._per_minute, 0.0), {}
        self._known_until_s = self._taken_until_s = 0.0
        self._need.set()
        self._task = asyncio.create_task(self._serve(), name=f"lease {self._quota}")

    async def aclose(self) -> None:
        """Stops, and returns the unspent units of the lease."""
        self._limiter.on_need = None
        if self._task is None:
            return
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        self._stop_timer()
        self._hand_in(self._limiter.statistics().level)
        self._hand_in(self._ahead)
        self._limiter.drop()
        if not self._is_alone:
            with suppress(StoreFailed):
                await self._lease(self._ask({}, leaving=True))

    async def _run(self) -> None:
        await self._need.wait()
        await asyncio.sleep(random.random() * FIRST_ASK_S)
        await self._serve()

    async def _serve(self) -> None:
        while True:
            await self._need.wait()
            self._need.clear()
            want = self._wanted()
            if want or self._has_news():
                await self._await_lease(want)
            else:  # there are enough units; calls wait because the judge throttles
                await asyncio.sleep(LOOK_AGAIN_S)
                self._fill({})

    async def _await_lease(self, want: Mapping[str, int]) -> None:
        try:
            asked_at_s, lease = await self._lease_patiently(want)
        except StoreFailed as problem:
            asked_at_s, lease = await self._go_alone(problem)
        begins_at_s = _now_s() + lease.delay_s
        if lease.granted:
            self._taken_until_s = begins_at_s + lease.taken_s
        self._ahead = lease.granted
        await asyncio.sleep(lease.delay_s)
        self._ahead = {}
        is_late = (
            _now_s() - begins_at_s > FROZEN_S
            or begins_at_s - lease.delay_s - asked_at_s > lease.valid_for_s
        )
        if lease.granted and not is_late:
            self._begin(lease)
        elif not want:
            self._fill({})
        else:
            self._need.set()

    async def _lease_patiently(self, want: Mapping[str, int]) -> tuple[float, Lease]:
        """Returns a lease, and the time of its request. Retries while the other clients are unknown."""
        until_s = _now_s() + PATIENCE_S
        while True:
            asked_at_s = _now_s()
            try:
                return asked_at_s, await self._lease(self._ask(want))
            except StoreFailed:
                if asked_at_s < self._known_until_s or _now_s() >= until_s:
                    raise
            await asyncio.sleep(random.uniform(*RETRY_S))

    async def _lease(self, ask: Ask) -> Lease:
        self._asked += 1
        try:
            lease = await _heeding(self._store.lease(self._quota, ask))
        except BaseException as problem:
            if not isinstance(problem, Exception) and stray(problem) is None:
                raise
            self._failed += 1
            if isinstance(problem, StoreFailed):
                raise
            raise StoreFailed(f"{self._store!r} failed: {problem!r}") from problem
        self._clients, self._pace, self._seen = lease.clients, lease.pace, lease.seen
        self._known_until_s = _now_s() + KNOWN_S
        return lease

    def _has_news(self) -> bool:
        """Whether to report refused calls, although no units are needed."""
        is_due = _now_s() - self._told_at_s >= NEWS_EVERY_S
        return is_due and self._limiter.statistics().throttled > self._throttled

    def _ask(self, want: Mapping[str, int], *, lost: int = 0, leaving: bool = False) -> Ask:
        sent, refused = self._limiter.take_known()
        ask = Ask(
            client=self._client,
            per_minute=self._per_minute,
            want=want,
            least={name: min(self._least[name], units) for name, units in want.items()},
            returned=self._returned if _now_s() < self._returned_until_s else {},
            sent=sent,
            refused=refused,
            pace=self._spent_pace,
            lost_clients=lost,
            leaving=leaving,
            seen=self._seen,
            taken_s=max(0.0, self._taken_until_s - _now_s()),
            clients=max(1, self._clients),
        )
        if refused:
            self._throttled, self._told_at_s = self._limiter.statistics().throttled, _now_s()
        self._returned = {}
        return ask

    def _wanted(self) -> dict[str, int]:
        """The units for all waiting calls, and for `AHEAD_S` at the present rate."""
        known, backlog = self._limiter.statistics(), self._limiter.backlog()
        elapsed_s = max(_now_s() - self._filled_at_s, MIN_SPAN_S)
        want = {}
        for name, level in known.level.items():
            spent_per_s = max(0.0, self._held[name] - level) / elapsed_s
            self._use_per_s[name] = use = max(spent_per_s, self._use_per_s[name] / 2)
            there = max(0.0, level)
            if known.waiting and backlog[name]:
                self._least[name] = ceil((backlog[name] + there) / known.waiting)
            units = ceil(backlog[name] + max(0.0, use * AHEAD_S - there))
            if there < self._least[name]:
                units = max(units, self._least[name])
            if units:
                want[name] = units
        return want

    def _begin(self, lease: Lease) -> None:
        """Begins a lease at its time."""
        self._leased += 1
        now_s = _now_s()
        if lease.pace != self._spent_pace:
            self._limiter.take_known()  # these calls were sent at another rate, which the store ignores
            self._spent_pace = lease.pace
        pays_s = (
            units * 60 * lease.clients / self._per_minute[name]
            for name, units in lease.granted.items()
        )
        self._paid_until_s = now_s + max(pays_s)
        self._expire_at(now_s + lease.valid_for_s)
        self._fill(lease.granted)

    def _fill(self, units: Mapping[str, int]) -> None:
        """Fills the buckets. Each capacity equals the level, so refunds have the room of spent units."""
        levels = self._limiter.statistics().level
        self._held = {name: max(0.0, level) + units.get(name, 0) for name, level in levels.items()}
        self._filled_at_s = _now_s()
        added = {name: units.get(name, 0) for name in levels}
        self._limiter.add(added, {name: ceil(held) for name, held in self._held.items()})

    def _expire_at(self, when_s: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_at(when_s, self._expire, when_s)

    def _expire(self, when_s: float) -> None:
        """Returns units that were not spent in time, unless a call waits until they are enough."""
        self._timer = None
        if _now_s() - when_s > FROZEN_S:
            self._limiter.drop()
        elif not self._limiter.statistics().waiting:
            self._hand_in(self._limiter.statistics().level)
            self._limiter.drop()
        self._held = {name: max(0.0, n) for name, n in self._limiter.statistics().level.items()}

    def _hand_in(self, levels: Mapping[str, float]) -> None:
        now_s = _now_s()
        if now_s >= self._returned_until_s:
            self._returned = {}
        self._returned_until_s = now_s + GIVE_BACK_S
        for name, level in levels.items():
            if level >= 1:
                self._returned[name] = self._returned.get(name, 0) + int(level)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _go_alone(self, problem: StoreFailed) -> tuple[float, Lease]:
        """Uses its own share until the store answers. Returns the first lease and the time of its request."""
        lost_at_s, clients = _now_s(), max(1, self._clients)
        self._is_alone = True
        _log.warning("lost the store of quota %s, using a share: %s", self._quota, problem)
        self._sink(StoreLost(quota=self._quota, clients=clients, reason=str(problem)))
        rates = {name: amount / clients * ALONE_SHARE for name, amount in self._per_minute.items()}
        loop = asyncio.get_running_loop()
        begin = loop.call_at(max(self._paid_until_s, lost_at_s), self._limiter.set_rates, rates)
        try:
            asked_at_s, lease = await self._ask_until_answered(clients)
        finally:
            begin.cancel()
        self._limiter.set_rates(dict.fromkeys(self._per_minute, 0.0))
        self._limiter.drop()  # not leased: if returned, these units would reduce the leases of others
        self._is_alone = False
        lost_s = _now_s() - lost_at_s
        _log.warning("the store of quota %s is back after %.1f s", self._quota, lost_s)
        self._sink(StoreBack(quota=self._quota, lost_s=lost_s))
        return asked_at_s, lease

    async def _ask_until_answered(self, clients: int) -> tuple[float, Lease]:
        while True:
            await asyncio.sleep(random.uniform(*RETRY_S))
            asked_at_s = _now_s()
            with suppress(StoreFailed):
                return asked_at_s, await self._lease(self._ask(self._wanted(), lost=clients))


async def _heeding(call: Awaitable[Lease]) -> Lease:
    """Awaits a call, and raises a cancellation that arrived in the meantime and that a client library hid.

    On Python 3.11 `asyncio.wait_for`, which redis-py uses, ignores a cancellation that
    comes together with the result. The task that cancelled us would then wait forever.
    """
    task = asyncio.current_task()
    before = task.cancelling() if task else 0
    try:
        return await call
    finally:
        if task and task.cancelling() > before:
            raise asyncio.CancelledError


def _now_s() -> float:
    return asyncio.get_running_loop().time()
