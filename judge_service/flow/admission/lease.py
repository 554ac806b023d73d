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
"""The first ask comes somewhere in the first half second, so that 400 instances are no herd. A lease is to
last a second at the pace of the last one: as long as it is valid."""

MIN_SPAN_S = 0.25
"""Pace is measured over no less, or ten calls at once would look like a thousand a second."""

ALONE_SHARE = Rules().alone_share
"""Part of the own share that is spent while the store is lost, since the others are not seen."""

KNOWN_S = 10.0
"""How long the number of the others is believed: a round of all clients takes no longer."""

PATIENCE_S = 1.5
"""How long the store is asked again before a process that knows nothing of the others goes on alone. When
many start or are thawed at once, all connect and compute at once, and answers are late for a moment; each
would then take what it takes for its share, which may be nearly the whole."""

GIVE_BACK_S = 1.0
"""How long after its end a lease can still be handed in: its time was not used, and is over then."""

RETRY_S = (0.1, 1.0)
"""A lost store is asked after a random time between these, which keeps the way back under 2 s."""

LOOK_AGAIN_S = 0.05
"""Between two looks at waiters who have enough units but must not go yet."""

FROZEN_S = 0.5
"""A timer that is so late says that the process stood still: what it held is out of date."""

NEWS_EVERY_S = 1.0
"""How often refused calls are told to the store although nothing is wanted."""

_log = logging.getLogger("judge_service")


class Limiter(Protocol):
    """What `Gate` is to the one who feeds it; described there."""

    on_need: Callable[[], None] | None

    def set_rates(self, per_minute: Mapping[str, float]) -> None: ...

    def add(self, units: Mapping[str, int], capacity: Mapping[str, int] | None = None) -> None: ...

    def drop(self) -> None: ...

    def backlog(self) -> Mapping[str, float]: ...

    def take_known(self) -> tuple[int, int]: ...

    def statistics(self) -> GateStatistics: ...


class QuotaLeaseStatistics(Struct, frozen=True, kw_only=True):
    """asked: operations of the store. failed: those without an answer. leased: leases begun.

    is_alone: the store is lost. clients: how many shared the quota when last seen.
    pace: the part of the quota that the store deals out, below 1 after throttling.
    """

    asked: int
    failed: int
    leased: int
    is_alone: bool
    clients: int
    pace: float


class QuotaLease:
    """One process's part in a shared quota. `start` it on the loop, `aclose` it in the end.

    limiter: its rates are ours from `start` on.
    quota: the store's name for it, the same in all processes.
    per_minute: the whole quota by resource, as in the limiter.
    expected_clients: how many will share it, >= 1; counts only until the store first answers.
    client: this process's name, unique; made up by default.

    A store that is lost never stops the judge and never frees it: until it is back this process
    spends 0.8 of its share of the quota, which the limiter lowers further if the judge throttles.
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
        """What happened so far."""
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
        """Gives up all that was leased, begun or not: its time has passed while the process was frozen.

        What is asked of the store at this moment is forgotten too: an answer that had waited all the
        time would look fresh. While the store is lost there are no leases.
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
        """Stops, and gives back what was leased and not spent."""
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
            else:  # there is enough; who waits does so because the judge throttles
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
        """A lease, and when it was asked for. Asks again while the others are not known."""
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
        """Whether to tell of refused calls, although nothing is wanted."""
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
        """Units for those who wait, and for `AHEAD_S` at the pace of late."""
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
        """The lease's time has come."""
        self._leased += 1
        now_s = _now_s()
        if lease.pace != self._spent_pace:
            self._limiter.take_known()  # sent at another pace, of which the store knows enough
            self._spent_pace = lease.pace
        pays_s = (
            units * 60 * lease.clients / self._per_minute[name]
            for name, units in lease.granted.items()
        )
        self._paid_until_s = now_s + max(pays_s)
        self._expire_at(now_s + lease.valid_for_s)
        self._fill(lease.granted)

    def _fill(self, units: Mapping[str, int]) -> None:
        """Room for what there is and no more: so refunds find the room that spending has made."""
        levels = self._limiter.statistics().level
        self._held = {name: max(0.0, level) + units.get(name, 0) for name, level in levels.items()}
        self._filled_at_s = _now_s()
        added = {name: units.get(name, 0) for name in levels}
        self._limiter.add(added, {name: ceil(held) for name, held in self._held.items()})

    def _expire_at(self, when_s: float) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_at(when_s, self._expire, when_s)

    def _expire(self, when_s: float) -> None:
        """What was not spent in time goes back, unless somebody waits for it to become enough."""
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
        """Spends a share of its own until the store answers; gives its first lease, and when it asked."""
        lost_at_s, clients = _now_s(), max(1, self._clients)
        self._is_alone = True
        _log.warning("lost the store of quota %s, going on with a share: %s", self._quota, problem)
        self._sink(StoreLost(quota=self._quota, clients=clients, reason=str(problem)))
        rates = {name: amount / clients * ALONE_SHARE for name, amount in self._per_minute.items()}
        loop = asyncio.get_running_loop()
        begin = loop.call_at(max(self._paid_until_s, lost_at_s), self._limiter.set_rates, rates)
        try:
            asked_at_s, lease = await self._ask_until_answered(clients)
        finally:
            begin.cancel()
        self._limiter.set_rates(dict.fromkeys(self._per_minute, 0.0))
        self._limiter.drop()  # no lease: handed in, it would be taken out of what others have leased
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
    """What comes of a call, or the cancellation that came meanwhile and that a client library hid.

    On Python 3.11 `asyncio.wait_for`, through which redis-py sends, goes on as if nothing had happened when
    a cancellation comes together with the result. Whoever cancelled us would then wait for ever.
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
