"""How many calls may be on the wire, found out from how the judge bears them.

Three parts, after Netflix concurrency-limits: `AdaptiveLimit` is the arithmetic (numbers in, slots
out, no waiting), `Concurrency` is the enforcement, `AdaptiveConcurrency` joins them. Each call ends in
exactly one of *success*, *ignored* (a cancellation, a failure that says nothing of room) and *dropped*
(throttled).

The limit starts at its maximum, so a judge that gives no reason to cut it never feels it.

* An **episode** begins with a dropped call. The limit is cut once, to 0.9 of what was in flight, and
  until the episode ends (a second, or one and a half latencies) the slots of dropped calls stay empty:
  a refusal comes back faster than an answer, and would otherwise be followed by another at once.
* When so many slots are empty that none is left, the judge takes nothing: the door is **shut**, and one
  call a second, then one in two seconds, asks. The first that is answered opens it again.
* **Growth** only while calls fill the limit: doubled every round trip up to where it was before the
  cut, beyond that by 4 % a second and a slot a round trip.
* A **slower judge**: Gradient2 (Netflix concurrency-limits, `Gradient2Limit.java`): when the short
  average of the latency is above 1.5 times the long one, the limit moves by a fifth of the way towards
  `limit * max(0.5, 1.5 * long / short)`, once an episode.
"""

import asyncio
import random
from collections.abc import Callable
from functools import partial
from math import inf

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.flow.admission.concurrency import Concurrency
from judge_service.flow.latencies import Latencies

CUT = 0.9
MIN_EPISODE_S = 1.0
EPISODE_LATENCIES = 1.5
"""Long enough for a call sent in the episode to be answered in it."""

FIRST_PROBE_S, NEXT_PROBE_S = 1.0, 2.0
"""Waits before the first and each later probe through a shut door: at most 1 call a second, and
the end of a storm is seen within 2 s. Each is stretched by up to a tenth, by chance, so that many
processes do not ask together."""

REOPEN = 0.5
"""Share of the former limit with which a door opens: one doubling below it, so that the calls that
waited do not all leave together."""

GROWTH_PER_S = 0.04
"""What a cut took is back after three seconds, however long a round trip is."""

TOLERANCE = 1.5
MIN_GRADIENT = 0.5
SMOOTHING = 0.2
SHORT_SAMPLES, LONG_SAMPLES = 50, 600
"""Weights of the averages. Netflix compares a window's mean with 600 samples; 50 are enough that two
answers of 8 times the median among them are not taken for a slower judge."""

CALM_S = 10.0


class AdaptiveLimit:
    """The arithmetic. Times are seconds of one clock; nothing here waits or looks at a clock.

    min_slots, max_slots: what `limit` stays within; it starts at the maximum.
    limit: calls that may be in flight, before the slots that an episode keeps empty.
    episodes: how often it was cut. dropped: calls that were thrown back.
    throttled_at: when one was last, `-inf` for never.
    """

    def __init__(
        self, *, min_slots: int, max_slots: int, random: Callable[[], float] = random.random
    ) -> None:
        self._min, self._max = min_slots, max_slots
        self._random = random
        self._limit = self._goal = float(max_slots)
        self._saturated = False
        self._episode_ends_at = self._cut_at = -inf
        self._empty = 0
        self._shut_at: float | None = None
        self._probe_at = -inf
        self._short_s = self._long_s = 0.0
        self._samples = 0
        self.episodes = self.dropped = 0
        self.throttled_at = -inf

    @property
    def limit(self) -> int:
        """Slots, at least the minimum."""
        return int(self._limit)

    @property
    def is_shut(self) -> bool:
        """Whether only probes go."""
        return self._shut_at is not None

    def slots(self, in_flight: int, now: float) -> int:
        """How many calls may be in flight at this moment."""
        if self._shut_at is not None:
            return in_flight + 1 if now >= self._probe_at else 0
        if now >= self._episode_ends_at:
            self._empty = 0
        return max(self.limit - self._empty, 0)

    def changes_at(self, now: float) -> float | None:
        """When `slots` will be another number though nothing happened, `None` if never."""
        if self._shut_at is not None:
            return self._probe_at if now < self._probe_at else None
        return self._episode_ends_at if self._empty else None

    def start(self, in_flight: int, now: float) -> None:
        """A call has taken a slot."""
        self._saturated = self._saturated or in_flight >= self.limit
        if self._shut_at is not None:
            self._probe_at = now + self._stretched(NEXT_PROBE_S)

    def succeed(self, started: float, latency_s: float, in_flight: int, now: float) -> None:
        """A call was answered, `latency_s` after it was sent."""
        self._measure(latency_s)
        if self._shut_at is not None:
            if started >= self._shut_at:
                self._open(now)
        elif now >= self._episode_ends_at:
            if self._is_slower() and in_flight >= self._limit / 2:
                self._give_way(now)
            elif self._saturated or in_flight >= self.limit:
                self._grow()

    def drop(self, started: float, in_flight: int, now: float) -> None:
        """A call was thrown back by the quota."""
        self.throttled_at = now
        self.dropped += 1
        if self._shut_at is not None:
            return
        if now >= self._episode_ends_at and started >= self._cut_at:
            self._cut(in_flight, now)
        if now < self._episode_ends_at:
            self._empty += 1
        if self._empty >= self.limit:
            self._shut(now)

    def _cut(self, in_flight: int, now: float) -> None:
        self._goal = max(self._limit * CUT, self._min)
        self._begin_episode(min(self._limit, in_flight) * CUT, now)

    def _give_way(self, now: float) -> None:
        gradient = max(TOLERANCE * self._long_s / self._short_s, MIN_GRADIENT)
        self._begin_episode(self._limit * (1 - SMOOTHING + SMOOTHING * gradient), now)

    def _begin_episode(self, limit: float, now: float) -> None:
        self._limit = max(limit, self._min)
        self._saturated = False
        self._empty = 0
        self._cut_at = now
        self._episode_ends_at = now + max(MIN_EPISODE_S, EPISODE_LATENCIES * self._short_s)
        self.episodes += 1

    def _shut(self, now: float) -> None:
        self._shut_at = now
        self._probe_at = now + self._stretched(FIRST_PROBE_S)

    def _open(self, now: float) -> None:
        self._shut_at = None
        self._empty = 0
        self._episode_ends_at = -inf
        self._cut_at = now  # what was sent before says nothing of now
        self._limit = max(self._goal * REOPEN, self._min)

    def _grow(self) -> None:
        before = self.limit
        slow = 1 / self._limit + GROWTH_PER_S * self._short_s
        step = 1.0 if self._limit < self._goal else slow
        self._limit = min(self._limit + step, self._max)
        self._saturated = self._saturated and self.limit == before

    def _measure(self, latency_s: float) -> None:
        """Moving averages, plain means until there are enough samples."""
        self._samples += 1
        self._short_s += (latency_s - self._short_s) / min(self._samples, SHORT_SAMPLES)
        self._long_s += (latency_s - self._long_s) / min(self._samples, LONG_SAMPLES)
        if self._long_s > 2 * self._short_s:  # a judge that has become fast again, as in Gradient2
            self._long_s *= 0.95

    def _is_slower(self) -> bool:
        known = self._samples >= 2 * SHORT_SAMPLES
        return known and self._short_s > TOLERANCE * self._long_s

    def _stretched(self, wait_s: float) -> float:
        return wait_s * (1 + 0.1 * self._random())


class AdaptiveStatistics(Struct, frozen=True, kw_only=True):
    """in_flight, waiting: calls with a slot and without. limit: slots there are by the arithmetic.

    episodes: cuts so far. dropped: calls thrown back. is_shut: only probes go.
    """

    in_flight: int
    waiting: int
    limit: int
    episodes: int
    dropped: int
    is_shut: bool


class AdaptiveConcurrency:
    """Slots whose number follows the judge; waiting calls are served in the order of arrival.

    A throttled call that comes again goes to the end of this line, not to its head: the few at the
    head would otherwise use up all their attempts on the probes.

    min_in_flight, max_in_flight: bounds of the limit, 1 <= min <= max. It starts at the maximum.
    latencies: learns how long the answers took.
    """

    def __init__(
        self,
        *,
        max_in_flight: int,
        min_in_flight: int = 1,
        latencies: Latencies | None = None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._slots = Concurrency(max_in_flight=max_in_flight)
        self._limit = AdaptiveLimit(min_slots=min_in_flight, max_slots=max_in_flight, random=random)
        self._latencies = latencies if latencies is not None else Latencies()
        self._bounds = f"min_in_flight={min_in_flight}, max_in_flight={max_in_flight}"
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None  # a handle of uvloop does not say when it is due

    def __repr__(self) -> str:
        return f"AdaptiveConcurrency({self._bounds})"

    def statistics(self) -> AdaptiveStatistics:
        """What is taken now and what happened so far."""
        return AdaptiveStatistics(
            in_flight=self._slots.in_flight,
            waiting=self._slots.waiting,
            limit=self._limit.limit,
            episodes=self._limit.episodes,
            dropped=self._limit.dropped,
            is_shut=self._limit.is_shut,
        )

    @property
    def waiting(self) -> int:
        """Calls that wait for a slot."""
        return self._slots.waiting

    def has_room(self) -> bool:
        """Whether a slot is free and nothing was throttled in the last 10 s: a call more does no harm."""
        now = asyncio.get_running_loop().time()
        calm = now - self._limit.throttled_at >= CALM_S
        return calm and self._slots.in_flight < self._slots.limit

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        return await self._slots(request, partial(self._observed, call_next))

    async def _observed(self, call_next: Handler[B, R], request: Request[B]) -> R:
        """A call in its slot. It adapts the slots before its own is given back."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._limit.start(self._slots.in_flight, started)
        if self._limit.is_shut:
            self._adapt(started)
        try:
            result = await call_next(request)
        except CallError as error:
            if error.throttled:
                now = loop.time()
                self._limit.drop(started, self._slots.in_flight, now)
                self._adapt(now)
            raise
        now = loop.time()
        latency_s = now - (request.sent_at or started)
        self._latencies.note(latency_s)
        self._limit.succeed(started, latency_s, self._slots.in_flight, now)
        self._adapt(now)
        return result

    def _adapt(self, now: float) -> None:
        slots = self._limit.slots(self._slots.in_flight, now)
        if slots != self._slots.limit:
            before = self._slots.in_flight
            self._slots.limit = slots
            if self._limit.is_shut and self._slots.in_flight > before:
                self._slots.limit = 0
                self._limit.start(self._slots.in_flight, now)  # at once: it runs only later
        self._set_timer(now)

    def _set_timer(self, now: float) -> None:
        at = self._limit.changes_at(now)
        if self._timer is not None and self._timer_at != at:
            self._timer.cancel()
            self._timer = None
        if self._timer is None and at is not None:
            self._timer_at = at
            self._timer = asyncio.get_running_loop().call_at(at, self._on_timer, at)

    def _on_timer(self, due: float) -> None:
        self._timer = None
        self._adapt(max(due, asyncio.get_running_loop().time()))
