"""The judge's quota, spent to the last unit and never overrun: reserve an estimate, settle the truth."""

import asyncio
from collections.abc import Callable, Mapping
from math import inf
from operator import add, sub
from typing import Generic

from msgspec import Struct

from judge_service.errors import CallError, DeadlineExceeded
from judge_service.flow import B, Handler, R, Request
from judge_service.flow.admission.bucket import MICRO, Limit
from judge_service.flow.admission.buckets import Buckets
from judge_service.flow.admission.fair_queue import FairQueue, Waiter
from judge_service.flow.admission.throttle import Pace

__all__ = ["Limit", "RateLimit", "RateLimitStatistics"]

LOW_WATER = 0.5
"""Below this share of its capacity a bucket that is filled by `add` asks for more, so that the next
lease is there before the last one is spent."""


class RateLimitStatistics(Struct, frozen=True, kw_only=True):
    """waiting: calls in the line, `waiting_by_lane` the same by lane.

    in_flight: reservations not settled yet.
    granted, refused: reservations made, and refused because their turn would come too late.
    answered, throttled: calls that ended well, and that the judge refused because of its quota.
    level: units in each bucket when it was last looked at, negative for a debt.
    reserved: units of each resource that the calls in flight hold; charged: that ended ones cost.
    effective_per_minute: units a minute that fill each bucket now; below the quota after throttling,
        0 where units are leased.
    probing_calls_per_s: calls a second that go after a throttle storm, `inf` otherwise.
    """

    waiting: int
    waiting_by_lane: Mapping[str, int]
    in_flight: int
    granted: int
    refused: int
    answered: int
    throttled: int
    level: Mapping[str, float]
    reserved: Mapping[str, float]
    charged: Mapping[str, float]
    effective_per_minute: Mapping[str, float]
    probing_calls_per_s: float


class RateLimit(Generic[B, R]):
    """Lets calls through as the quota fills, all resources or none, in the order `fair_queue` describes.

    limits: by the resource's name; none at all costs nothing.
    reserve: what a body will cost at most, whole units in the order of `limits`.
    charge: what an answered call did cost; the difference is given back, or taken as a debt.

    A call that failed gives all back unless its error says `charged`; a cancelled or broken one
    keeps its reservation if it had been sent. While throttling slows us down, a throttled call keeps
    its reservation too, because then it is attempts that must be paced. A call whose turn would come
    after its deadline is refused at once.

    A supply from outside (a lease of a shared quota) sets a rate of 0 and calls `add`. `on_need` is
    called when such a bucket is half empty or somebody has to wait; it must be cheap, and is called
    once, then not again before the next `add` or `set_rates`.

    Raises DeadlineExceeded.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, Limit],
        reserve: Callable[[B], tuple[int, ...]],
        charge: Callable[[B, R], tuple[int, ...]],
    ) -> None:
        self._limits = dict(limits)
        self._reserve = reserve
        self._charge = charge
        self._supply = Buckets(limits)
        self._nothing = (0,) * len(limits)
        self._line = FairQueue()
        self._pace = Pace()
        self._queued = list(self._nothing)
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at_s = inf  # a handle of uvloop does not say when it is due
        self._granted = self._settled = self._failed = self._refused = 0
        self._asked = False
        self.on_need: Callable[[], None] | None = None

    def __repr__(self) -> str:
        limits = (
            f"{name}={limit.per_minute:.12g}/min with {limit.burst_s:g} s at once"
            for name, limit in self._limits.items()
        )
        return f"RateLimit({', '.join(limits)})"

    @property
    def waiting(self) -> int:
        """Calls in line."""
        return self._line.present

    def statistics(self) -> RateLimitStatistics:
        """What is held now and what happened so far."""
        buckets = self._supply.buckets.items()
        return RateLimitStatistics(
            waiting=self._line.present,
            waiting_by_lane=self._line.waiting(),
            in_flight=self._granted - self._settled,
            granted=self._granted,
            refused=self._refused,
            answered=self._settled - self._failed,
            throttled=self._pace.throttled,
            level={name: bucket.level / MICRO for name, bucket in buckets},
            reserved={name: bucket.reserved / MICRO for name, bucket in buckets},
            charged={name: bucket.charged / MICRO for name, bucket in buckets},
            effective_per_minute={name: bucket.rate / MICRO for name, bucket in buckets},
            probing_calls_per_s=self._pace.calls_per_s,
        )

    def set_rates(self, per_minute: Mapping[str, float]) -> None:
        """Changes what fills the buckets from now on; levels, debts and the line stay.

        per_minute: units a minute by resource, >= 0; resources not named keep their rate. Above 0 a
            bucket holds `burst_s` of it. At 0 it is filled by `add` alone and holds what it held
            until `add` says otherwise.
        """
        self._supply.set_rates(per_minute, _now_us())
        self._asked = False
        self._let_in()

    def add(self, units: Mapping[str, int], capacity: Mapping[str, int] | None = None) -> None:
        """Puts leased units into the buckets and lets waiters in.

        units: by resource, >= 0. capacity: what a bucket may hold from now on, units, refunds
            included; without one it stays as it is. What goes above it is lost. Calls dearer than it
            go when the bucket is full and leave a debt that later units pay first.

        Calls `on_need` at its end if that was not enough.
        """
        self._supply.add(units, capacity or {})
        self._asked = False
        self._let_in()

    def drop(self) -> None:
        """Forgets all unspent units, as after a freeze or when the store is lost; debts stay."""
        self._supply.drop()

    def backlog(self) -> Mapping[str, float]:
        """Units that are missing for all who wait now to go, by resource."""
        return self._supply.missing(self._queued)

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if not self._limits:
            return await call_next(request)
        charged = costs = self._reserve(request.body)
        if self._line.present or not self._take(costs):
            await self._wait(costs, request)
        elif self._supply.leased:
            self._ask_for_more()
        try:
            result = await call_next(request)
            charged = self._charge(request.body, result)
            if not self._pace.calm:
                self._note_answer(request)
        except CallError as error:
            charged = self._charge_failed(error, costs, request)
            raise
        except BaseException:
            self._failed += 1
            if not request.sent_at:
                charged = self._nothing
            raise
        finally:
            self._settle(costs, charged)
        return result

    def _charge_failed(
        self, error: CallError, costs: tuple[int, ...], request: Request[B]
    ) -> tuple[int, ...]:
        self._failed += 1
        now_s = asyncio.get_running_loop().time()
        request.arrived_at = request.arrived_at or request.sent_at or now_s  # it never had to wait
        keeps = error.charged
        if error.throttled:
            keeps = not self._pace.calm
            self._pace.refuse(now_s, request.sent_at or now_s)
            self._follow_pace()
        return costs if keeps else self._nothing

    def _note_answer(self, request: Request[B]) -> None:
        now_s = asyncio.get_running_loop().time()
        self._pace.answer(now_s, request.sent_at or now_s)
        self._follow_pace()

    def _follow_pace(self) -> None:
        self._supply.slow_to(self._pace.factor, _now_us())

    def _may_go(self) -> bool:
        """Asks the pace, after throttling only."""
        now_s = asyncio.get_running_loop().time()
        if self._pace.grow(now_s):
            self._follow_pace()
        return now_s + 1 / MICRO >= self._pace.next_at_s  # timers may be a hair early

    def _take(self, costs: tuple[int, ...]) -> bool:
        """Reserves from every bucket or from none."""
        if not (self._pace.calm or self._may_go()):
            return False
        now_us = _now_us()
        if not self._supply.take(costs, now_us):
            return False
        self._granted += 1
        if not self._pace.calm:
            self._pace.let_in(now_us / MICRO)
        return True

    def _settle(self, costs: tuple[int, ...], charged: tuple[int, ...]) -> None:
        self._supply.settle(costs, charged, _now_us)
        self._settled += 1
        if self._line.present:
            self._let_in()

    async def _wait(self, costs: tuple[int, ...], request: Request[B]) -> None:
        loop = asyncio.get_running_loop()
        if not request.arrived_at:
            request.arrived_at = loop.time()
        if request.deadline < inf:
            self._refuse_if_too_late(costs, request)
        waiter = Waiter(costs, self._supply.size(costs), request.arrived_at, loop.create_future())
        self._join(waiter, request)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _refuse_if_too_late(self, costs: tuple[int, ...], request: Request[B]) -> None:
        share = self._line.share_ahead(request.lane, request.job, request.arrived_at)
        late_s = self._supply.ready_at_s(costs, self._queued, share) - request.deadline
        if 0 < late_s < inf:
            self._refused += 1
            raise DeadlineExceeded(
                f"the quota would give this call its turn {late_s:.1f} s after its deadline;"
                f" {self._line.present} calls wait"
            )

    def _join(self, waiter: Waiter, request: Request[B]) -> None:
        self._line.join(waiter, request.lane, request.job)
        self._queued = list(map(add, self._queued, waiter.costs))
        if self._line.head() is waiter:
            self._set_timer()
        if self._supply.leased:
            self._ask_for_more()

    def _leave(self, waiter: Waiter) -> None:
        """A cancelled waiter frees its place, or gives back what came together with the end."""
        if not waiter.gone:
            self._line.leave(waiter)
            self._queued = list(map(sub, self._queued, waiter.costs))
            self._let_in()
        elif not waiter.turn.cancelled():
            self._failed += 1
            self._settle(waiter.costs, self._nothing)

    def _let_in(self) -> None:
        """Grants from the head of the line while there is room, then sets the timer for the next."""
        while self._line.present:
            waiter = self._line.head()
            if waiter.turn.done():  # cancelled in this very moment: take nothing for it
                self._line.leave(waiter)
            elif self._take(waiter.costs):
                self._line.pop(waiter)
                waiter.turn.set_result(None)
            else:
                break
            self._queued = list(map(sub, self._queued, waiter.costs))
        self._set_timer()
        if self._supply.leased:
            self._ask_for_more()

    def _ask_for_more(self) -> None:
        """Calls `on_need`, once, when somebody waits or a bucket without a rate is low."""
        if self._asked or self.on_need is None:
            return
        if self._line.present or self._supply.is_low(LOW_WATER):
            self._asked = True
            self.on_need()

    def _set_timer(self) -> None:
        """One timer, for the head. A timer that is early is left alone: it will set itself again."""
        if not self._line.present:
            self._stop_timer()
            return
        costs = self._line.head().costs
        ready_s = max(self._supply.ready_at_s(costs, self._nothing), self._pace.next_at_s)
        if ready_s < inf and (self._timer is None or ready_s < self._timer_at_s):
            self._stop_timer()
            loop = asyncio.get_running_loop()
            self._timer_at_s = ready_s
            self._timer = loop.call_at(ready_s, self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._let_in()


def _now_us() -> int:
    return int(asyncio.get_running_loop().time() * MICRO + 0.5)  # half the cost of round()
