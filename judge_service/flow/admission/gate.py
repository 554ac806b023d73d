"""The gate of one target: every call passes it, and it is the only place where calls wait.

A call joins one fair queue. Its head is sent when, at one moment, the breaker allows a call, a slot is free,
the throttle controller allows a call and every bucket has the tokens. Then all are taken together, as a
permit. A permit is settled exactly once, when the call has ended:

    answered    the true cost is charged, the slot is free at once
    refused     (throttled) charged like an average answer, because the rate of attempts is limited; if no
                quota is set, the slot stays taken for about a median latency (`slots.py`)
    failed      charged in full if the error says so (`charged`), else not at all
    cancelled   charged in full if it had been sent, else not at all

Because tokens are taken at the moment of sending, the calls sent in any 60 s are within the quota for any
latency of the judge: a call that waits for a slot has no tokens.

The parts are arithmetic and tell whether a call may be sent now, and if not, when: `breaker`, `slots` (with
`adaptive`), `throttle`, `buckets`, `fair_queue`. Only the gate waits and wakes callers.

Worked example: a quota of 600 calls a minute with 5 at once, 2 slots, a judge of 1 s, 4 calls at t = 0. Two
permits are granted (level 5 - 2 = 3) and two calls wait for a slot, without tokens. At t = 1 the first two
end and the others are sent: level min(5, 3 + 10) - 2 = 3. At most 5 + 600 calls are sent in any minute.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from math import inf
from operator import add, sub
from typing import Generic

from judge_service.errors import CallError, DeadlineExceeded
from judge_service.flow import B, Handler, R, Request, stray
from judge_service.flow.admission.alarm import Alarm
from judge_service.flow.admission.breaker import Breaker
from judge_service.flow.admission.bucket import MICRO, Limit
from judge_service.flow.admission.buckets import Buckets
from judge_service.flow.admission.fair_queue import FairQueue, Waiter
from judge_service.flow.admission.permit import Bound, GateStatistics, Permit
from judge_service.flow.admission.slots import Slots
from judge_service.flow.admission.throttle import Throttle
from judge_service.flow.latencies import Latencies
from judge_service.parking import Turn

__all__ = ["Gate", "Limit"]

LOW_WATER = 0.5
"""Share of its capacity below which a bucket that `add` fills requests more."""

CALM_S = 10.0
"""A target without refusals for this time, seconds, has spare capacity if no call waits."""

HOLD_S = 0.1
"""How long a refused call's slot stays taken while the judge's latency is not known."""


class Gate(Generic[B, R]):
    """Sends calls to one target, in the order of `fair_queue`.

    limits: by the resource's name; without any, the gate needs no quota.
    reserve: the largest cost of a body, whole units in the order of `limits`. charge: the cost of an answered
        call; the difference is returned, or taken as a debt.
    slots: limits the calls on the wire.
    breaker: decides whether the target may be called at all.
    throttle: adapts to refusals; its level is a share of the rates, or without limits of the slots.
    latencies: learns the latencies of answers.

    A call whose turn would come after its deadline is refused at once; so are all when the breaker opens.

    With tokens from a lease of a shared quota, the rate is 0 and the lease calls `add`. `on_need` is called
    once, when such a bucket is half empty or a call has to wait, and again after the next `add`.

    Raises DeadlineExceeded, BreakerOpen (an Unavailable), QuotaExhausted.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, Limit],
        reserve: Callable[[B], tuple[int, ...]],
        charge: Callable[[B, R], tuple[int, ...]],
        slots: Slots,
        breaker: Breaker,
        throttle: Throttle,
        latencies: Latencies,
    ) -> None:
        self._limits = dict(limits)
        self._reserve = reserve
        self._charge = charge
        self._slots = slots
        self._breaker = breaker
        self._throttle = throttle
        self._level = throttle.level
        self._latencies = latencies
        self._buckets = Buckets(limits)
        self._nothing = (0,) * len(limits)
        self._is_even = not set(limits) - {"requests"}  # then all calls take the same
        self._even_work = self._buckets.size((1,) * len(limits)) / MICRO if limits else 1.0
        self._queue = FairQueue()
        self._queued = list(self._nothing)
        self._bound: Bound = ""
        self._alarm = Alarm(self._on_time)
        self._refused_at_s = -inf
        self._granted = self._answered = self._throttled = self._failed = self._too_late = 0
        self._asked = False
        self.on_need: Callable[[], None] | None = None

    def __repr__(self) -> str:
        limits = [
            f"{name}={limit.per_minute:.12g}/min with {limit.burst_s:g} s at once"
            for name, limit in self._limits.items()
        ]
        return f"Gate({', '.join([*limits, repr(self._slots), repr(self._throttle)])})"

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return self._queue.present

    def statistics(self) -> GateStatistics:
        """The present state, and the counts so far."""
        buckets = self._buckets.buckets.items()
        return GateStatistics(
            waiting=self._queue.present,
            waiting_by_lane=self._queue.waiting(),
            bound_by=self._bound if self._queue.present else "",
            in_flight=self._slots.in_flight,
            slots=self._slots.limit,
            granted=self._granted,
            refused=self._too_late,
            answered=self._answered,
            throttled=self._throttled,
            failed=self._failed,
            level={name: bucket.level / MICRO for name, bucket in buckets},
            reserved={name: bucket.reserved / MICRO for name, bucket in buckets},
            charged={name: bucket.charged / MICRO for name, bucket in buckets},
            effective_per_minute={name: bucket.rate / MICRO for name, bucket in buckets},
            breaker=self._breaker.state,
            throttle=self._throttle.statistics(),
        )

    def has_room(self) -> bool:
        """Whether there is spare capacity for a further call: no call waits, and none was refused lately."""
        now_s = _now_s()
        is_calm = not self._queue.present and now_s - self._refused_at_s >= CALM_S
        return is_calm and self._slots.is_free(now_s)

    def set_rates(self, per_minute: Mapping[str, float]) -> None:
        """Changes the rates of the buckets from now on; levels, debts and the queue stay.

        per_minute: units a minute by resource, >= 0; other resources keep their rate. Above 0 the capacity
            is `burst_s` of it; with 0 only `add` fills the bucket.
        """
        self._buckets.set_rates(per_minute, _now_us())
        self._throttle.follow_store(is_leased=self._buckets.leased)
        self._follow_throttle()
        self._asked = False
        self._let_in()

    def add(self, units: Mapping[str, int], capacity: Mapping[str, int] | None = None) -> None:
        """Adds leased units to the buckets and grants permits; calls `on_need` if that was not enough.

        units: by resource, >= 0. capacity: new capacities, units, including refunds;
            other buckets keep theirs. Units above the capacity are lost. Calls that cost more than it are
            sent when the bucket is full, and leave a debt.
        """
        self._buckets.add(units, capacity or {})
        self._asked = False
        self._let_in()

    def drop(self) -> None:
        """Removes all unspent units; debts stay."""
        self._buckets.drop()

    def backlog(self) -> Mapping[str, float]:
        """The units that are missing to send all calls in the queue, by resource."""
        return self._buckets.missing(self._queued)

    def take_known(self) -> tuple[int, int]:
        """Calls sent and refused since the last call of this method, as far as their outcomes are known."""
        return self._throttle.take_known(_now_s())

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        now_s = _now_s()
        if self._breaker.state != "closed" and (refusal := self._breaker.refusal(now_s)):
            raise refusal
        costs = self._reserve(request.body) if self._limits else ()
        permit = None if self._queue.present else self._take(costs, now_s)
        if permit is None:
            permit = await self._wait(costs, request)
        elif self._buckets.leased:
            self._ask_for_more()
        try:
            result = await call_next(request)
            charged = self._charge(request.body, result) if self._limits else self._nothing
        except CallError as error:
            self._fail(permit, request, error)
            raise
        except BaseException as problem:
            if broken := stray(problem, charged=bool(request.sent_at)):
                self._fail(permit, request, broken)
                raise broken from problem
            self._cancel(permit, sent=bool(request.sent_at))
            raise
        self._answer(permit, request, charged)
        return result

    def _take(self, costs: tuple[int, ...], now_s: float) -> Permit | None:
        """Takes everything that a call needs, or nothing, and notes the limiting part."""
        breaker, throttle = self._breaker, self._throttle
        if breaker.state != "closed" and not breaker.may_go(now_s):
            self._bound = "breaker"
            return None
        if not self._slots.is_free(now_s):
            self._bound = "slots"
            return None
        if now_s + 1 / MICRO < throttle.next_at_s:  # alarms may be slightly early
            self._bound = "throttle"
            return None
        if self._limits and not self._buckets.take(costs, int(now_s * MICRO + 0.5)):
            self._bound = "quota" if throttle.calm else "throttle"
            return None
        self._slots.take()
        self._granted += 1
        return Permit(costs, breaker.start(), throttle.sent(now_s, self._work(costs)), now_s)

    def _answer(self, permit: Permit, request: Request[B], charged: tuple[int, ...]) -> None:
        now_s = _now_s()
        latency_s = now_s - (request.sent_at or permit.granted_at_s)
        self._answered += 1
        self._latencies.note(latency_s)
        self._slots.answer(latency_s, now_s)
        self._throttle.answered(permit.number, now_s)
        self._breaker.end(permit.era, None, now_s)
        self._settle(permit, charged, now_s)

    def _fail(self, permit: Permit, request: Request[B], error: CallError) -> None:
        now_s = _now_s()
        self._failed += 1
        request.arrived_at = request.arrived_at or request.sent_at or now_s  # it never had to wait
        self._breaker.end(permit.era, error, now_s)
        if error.throttled:
            self._refuse(permit, request, now_s)
            return
        self._settle(permit, permit.costs if error.charged else self._nothing, now_s)

    def _refuse(self, permit: Permit, request: Request[B], now_s: float) -> None:
        self._throttled += 1
        self._refused_at_s = now_s
        sent_at_s = request.sent_at or permit.granted_at_s
        self._throttle.refused(permit.number, now_s, sent_at_s, self._work(permit.costs))
        hold_s = 0.0 if self._limits else self._latencies.quantile_s(0.5) or HOLD_S
        self._settle(permit, self._buckets.average(permit.costs), now_s, hold_s)

    def _cancel(self, permit: Permit, *, sent: bool) -> None:
        """The call was cancelled, or broke in a way that says nothing about the target."""
        self._failed += 1
        self._breaker.forget(permit.era)
        self._settle(permit, permit.costs if sent else self._nothing, _now_s())

    def _settle(
        self, permit: Permit, charged: tuple[int, ...], now_s: float, hold_s: float = 0.0
    ) -> None:
        permit.settle()
        if hold_s:
            self._slots.hold(now_s + hold_s)
        else:
            self._slots.give_back()
        if self._limits:
            self._buckets.settle(permit.costs, charged, _now_us)
        if self._throttle.level != self._level:
            self._follow_throttle()
        if self._queue.present:
            self._let_in()

    def _work(self, costs: tuple[int, ...]) -> float:
        """The cost of a call in its scarcest resource, seconds of quota; 1 without a quota."""
        return self._even_work if self._is_even else self._buckets.size(costs) / MICRO

    def _follow_throttle(self) -> None:
        """Applies the throttle controller's level to the rates, or without rates to the slots."""
        throttle = self._throttle
        self._level = throttle.level
        if self._limits:
            self._buckets.slow_to(throttle.level, _now_us())
        else:
            self._slots.cap(inf if throttle.calm else throttle.level)

    async def _wait(self, costs: tuple[int, ...], request: Request[B]) -> Permit:
        request.arrived_at = request.arrived_at or _now_s()
        if request.deadline < inf:
            self._refuse_if_too_late(costs, request)
        turn: Turn[Permit] = Turn()
        waiter = Waiter(costs, self._buckets.size(costs), request.arrived_at, turn)
        self._join(waiter, request)
        permit = await turn.wait(leave=partial(self._leave, waiter), give_back=self._give_back)
        if self._breaker.state == "open":  # another call has opened it since the permit was given
            refusal = self._breaker.refusal(_now_s())
            if refusal is not None:
                self._give_back(permit)
                raise refusal
        return permit

    def _refuse_if_too_late(self, costs: tuple[int, ...], request: Request[B]) -> None:
        share = self._queue.share_ahead(request.lane, request.job, request.arrived_at)
        late_s = self._buckets.ready_at_s(costs, self._queued, share) - request.deadline
        if 0 < late_s < inf:
            self._too_late += 1
            raise DeadlineExceeded(
                f"the quota would give this call its turn {late_s:.1f} s after its deadline;"
                f" {self._queue.present} calls wait"
            )

    def _join(self, waiter: Waiter, request: Request[B]) -> None:
        self._queue.join(waiter, request.lane, request.job)
        self._queued = list(map(add, self._queued, waiter.costs))
        if self._queue.head() is waiter:
            self._set_alarm(waiter)
        if self._buckets.leased:
            self._ask_for_more()

    def _leave(self, waiter: Waiter) -> None:
        """Removes a caller that was cancelled before its turn."""
        if not waiter.gone:
            self._drop(waiter)
            self._let_in()

    def _give_back(self, permit: Permit) -> None:
        """Returns the permit of a call that was cancelled, or refused by the breaker, before it was sent."""
        self._cancel(permit, sent=False)

    def _let_in(self) -> None:
        """Grants permits from the head of the queue while all allow it, then sets the alarm."""
        now_s = _now_s()
        while self._queue.present:
            waiter = self._queue.head()
            if waiter.turn.is_over:  # cancelled a moment ago: take nothing for it
                self._drop(waiter)
                continue
            permit = self._take(waiter.costs, now_s)
            if permit is None:
                break
            self._queue.pop(waiter)
            self._queued = list(map(sub, self._queued, waiter.costs))
            waiter.turn.give(permit)
        if self._bound == "breaker" and self._breaker.state == "open":
            self._refuse_all(now_s)
        self._set_alarm(self._queue.head() if self._queue.present else None)
        if self._buckets.leased:
            self._ask_for_more()

    def _refuse_all(self, now_s: float) -> None:
        """Refuses all waiting calls, because the breaker has opened."""
        while self._queue.present:
            waiter = self._queue.head()
            self._drop(waiter)
            if refusal := self._breaker.refusal(now_s):
                waiter.turn.refuse(refusal)

    def _drop(self, waiter: Waiter) -> None:
        self._queue.leave(waiter)
        self._queued = list(map(sub, self._queued, waiter.costs))

    def _ask_for_more(self) -> None:
        """Calls `on_need`, once, when a call waits for quota or a bucket without a rate is low."""
        if self._asked or self.on_need is None:
            return
        if self._queue.present or self._buckets.is_low(LOW_WATER):
            self._asked = True
            self.on_need()

    def _set_alarm(self, head: Waiter | None) -> None:
        """Sets the alarm for the head of the queue."""
        if head is None:
            self._alarm.stop()
        else:
            self._alarm.set(self._ready_at_s(head))

    def _ready_at_s(self, head: Waiter) -> float:
        """The time at which the head may be sent if no call ends, `inf` for never."""
        ready_s = self._throttle.next_at_s
        if self._limits:
            ready_s = max(ready_s, self._buckets.ready_at_s(head.costs, self._nothing))
        if self._bound == "slots":
            ready_s = max(ready_s, self._slots.changes_at_s())
        elif self._bound == "breaker":
            ready_s = inf
        return min(ready_s, self._throttle.changes_at_s(_now_s()))

    def _on_time(self) -> None:
        self._throttle.tick(_now_s())
        self._follow_throttle()
        self._let_in()


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _now_us() -> int:
    return int(asyncio.get_running_loop().time() * MICRO + 0.5)  # half the cost of round()
