"""Sends the first of several calls with the same prompt prefix ahead; the others wait for its answer.

The judge then has the prefix in its prompt cache when the others come. Calls that are sent at the same
time all miss the cache, and each pays for the prefix. So the first call with a prefix leads, and the
others of its lane and job wait for its answer. They wait at most one typical latency from the moment the
leader is sent, and up to `BUSY_FACTOR` typical latencies while calls queue for the target, because waiting
costs nothing then. While the leader itself is in the queue, the followers would wait behind it in any case.
A call stops waiting when two typical latencies are left before its deadline.

The answers show whether the wait is useful: an answer that neither read nor wrote the cache shows that there
is no cache. After `FUTILE` such answers in a row no call waits for `OFF_S` seconds, or until an answer has
read from the cache.

Worked example: a group sends eight calls at t = 0 to a judge that takes 1 s. The first call is sent. It is
answered at t = 1 and has written 8,000 tokens to the cache; the other seven are sent, and each reads 8,000
tokens. If the leader takes 3 s and no calls queue, the others are sent at t = 1 and pay for the prefix.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable, Hashable
from functools import partial
from math import inf
from typing import Any, Generic

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.parking import Turn

TTL_S = 300.0
"""How long a judge keeps a prefix after its last use, seconds: five minutes at Bedrock and at OpenAI."""

UNKNOWN_S = 2.0
"""The assumed typical latency while it is not known."""

BUSY_FACTOR = 4
FUTILE = 3
OFF_S = 300.0
MAX_KEPT = 10_000


class LeaderStatistics(Struct, frozen=True, kw_only=True):
    """Counts of the calls that led and that waited.

    led: calls that others could wait for. followed: calls that waited. impatient: calls that stopped waiting.
    kept: prefixes that the judge's cache is assumed to hold. is_on: whether calls wait at all.
    """

    led: int
    followed: int
    impatient: int
    kept: int
    is_on: bool


class _Flight:
    """A leader's call and the calls that wait for it. The value of a turn: whether its call leads next."""

    __slots__ = ("leader", "timer", "turns")

    def __init__(self, leader: Request[Any]) -> None:
        self.leader = leader
        self.turns: deque[Turn[bool]] = deque()
        self.timer: asyncio.TimerHandle | None = None


class LeaderFirst(Generic[B, R]):
    """Sends the first of the calls with the same prompt prefix ahead of the others.

    key: the key of a body's prefix; empty for a prefix that is not cached.
    tokens: how many tokens an answer reports as read from the cache, and as written to it.
    tells_writes: whether answers report written tokens. If not, no call waits before an answer has read from
        the cache, and the answer of a leader does not count as evidence against a cache.
    typical_s: the typical latency of the judge, seconds, `None` while it is not known.
    is_busy: whether calls queue for the target.
    """

    def __init__(
        self,
        *,
        key: Callable[[B], str],
        tokens: Callable[[R], tuple[int, int]],
        tells_writes: bool,
        typical_s: Callable[[], float | None],
        is_busy: Callable[[], bool],
    ) -> None:
        self._key = key
        self._tokens = tokens
        self._tells_writes = tells_writes
        self._typical_s = typical_s
        self._is_busy = is_busy
        self._kept_until_s: OrderedDict[str, float] = OrderedDict()
        self._flights: dict[Hashable, _Flight] = {}
        self._off_until_s = -inf if tells_writes else inf
        self._futile = self._led = self._followed = self._impatient = 0

    def __repr__(self) -> str:
        return f"LeaderFirst(beginnings are kept for {TTL_S:g} s)"

    def statistics(self) -> LeaderStatistics:
        """The counts so far, and the present state."""
        return LeaderStatistics(
            led=self._led,
            followed=self._followed,
            impatient=self._impatient,
            kept=len(self._kept_until_s),
            is_on=_now_s() >= self._off_until_s,
        )

    def has(self, body: B) -> bool:
        """Whether the judge's cache is assumed to hold the prefix of this body."""
        if not self._kept_until_s:
            return False
        key = self._key(body)
        return bool(key) and self._kept_until_s.get(key, -inf) > _now_s()

    def __call__(self, request: Request[B], call_next: Handler[B, R]) -> Awaitable[R]:
        key = self._key(request.body)
        if not key:  # most prompts are short: they pay for no coroutine
            return call_next(request)
        return self._send(key, request, call_next)

    async def _send(self, key: str, request: Request[B], call_next: Handler[B, R]) -> R:
        now_s = _now_s()
        if now_s >= self._off_until_s and self._kept_until_s.get(key, -inf) <= now_s:
            place = (key, request.lane, request.job)
            flight = self._flights.get(place)
            if flight is None:
                return await self._lead(key, place, request, call_next)
            if await self._follow(place, flight, request):
                return await self._lead(key, place, request, call_next)
        result = await call_next(request)
        self._learn(key, request, result, led=False)
        return result

    async def _lead(
        self, key: str, place: Hashable, request: Request[B], call_next: Handler[B, R]
    ) -> R:
        flight = self._flights.get(place)
        if flight is None:
            flight = self._flights[place] = _Flight(request)
        flight.leader = request
        self._led += 1
        try:
            result = await call_next(request)
        except asyncio.CancelledError:
            self._pass_on(place, flight)
            raise
        except BaseException as error:
            if isinstance(error, CallError) and error.throttled:
                self._pass_on(place, flight)
            else:  # the next one would fail like it, one after the other
                self._land(place, flight)
            raise
        self._learn(key, request, result, led=True)
        self._land(place, flight)
        return result

    async def _follow(self, place: Hashable, flight: _Flight, request: Request[B]) -> bool:
        """Waits for the leader. Returns whether this call leads now."""
        loop = asyncio.get_running_loop()
        patience_s = self._patience_s()
        latest_s = request.deadline - 2 * patience_s
        if latest_s <= loop.time():
            return False
        request.arrived_at = request.arrived_at or loop.time()
        turn: Turn[bool] = Turn()
        flight.turns.append(turn)
        if flight.timer is None:
            self._watch(place, flight)
        alarm = None if latest_s == inf else loop.call_at(latest_s, turn.give, False)
        self._followed += 1
        try:
            return await turn.wait(
                leave=_nothing,  # a turn that is over is skipped when its flight lands
                give_back=partial(self._give_back, place, flight),
            )
        finally:
            if alarm is not None:
                alarm.cancel()

    def _watch(self, place: Hashable, flight: _Flight) -> None:
        """Ends the wait if the leader takes too long; otherwise schedules the next check."""
        now_s, patience_s = _now_s(), self._patience_s()
        since_s = now_s - flight.leader.sent_at if flight.leader.sent_at else 0.0
        most_s = patience_s * (BUSY_FACTOR if self._is_busy() else 1)
        if since_s >= most_s:
            self._impatient += sum(not turn.is_over for turn in flight.turns)
            self._land(place, flight)
            return
        look_s = patience_s - since_s if since_s < patience_s else patience_s
        flight.timer = asyncio.get_running_loop().call_later(look_s, self._watch, place, flight)

    def _patience_s(self) -> float:
        return self._typical_s() or UNKNOWN_S

    def _land(self, place: Hashable, flight: _Flight) -> None:
        """Ends the flight: the calls that wait for this leader continue."""
        if flight.timer is not None:
            flight.timer.cancel()
        if self._flights.get(place) is flight:
            del self._flights[place]
        while flight.turns:
            flight.turns.popleft().give(False)

    def _pass_on(self, place: Hashable, flight: _Flight) -> None:
        """Makes the next waiting call the leader, after the leader was cancelled or throttled."""
        while flight.turns:
            if flight.turns.popleft().give(True):
                return
        self._land(place, flight)

    def _give_back(self, place: Hashable, flight: _Flight, is_leader: bool) -> None:  # noqa: FBT001 - a turn's value
        """Handles a call that was cancelled at the moment of its turn: the next call leads instead."""
        if is_leader:
            self._pass_on(place, flight)

    def _learn(self, key: str, request: Request[B], result: R, *, led: bool) -> None:
        read, written = self._tokens(result)
        if read or written or (led and not self._tells_writes):
            if read or written:
                self._futile = 0
            if read:
                self._off_until_s = -inf
            self._kept_until_s[key] = (request.sent_at or _now_s()) + TTL_S
            self._kept_until_s.move_to_end(key)
            if len(self._kept_until_s) > MAX_KEPT:
                self._kept_until_s.popitem(last=False)
            return
        self._kept_until_s.pop(key, None)
        self._futile += 1
        if self._futile >= FUTILE and self._off_until_s != inf:
            self._futile = 0
            self._off_until_s = _now_s() + OFF_S


def _nothing() -> None:
    pass


def _now_s() -> float:
    return asyncio.get_running_loop().time()
