"""The judge's quota, spent to the last unit and never overrun: reserve an estimate, settle the truth."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import repeat
from math import inf
from operator import sub
from typing import Generic

from msgspec import Struct

from judge_service.errors import CallError, DeadlineExceeded
from judge_service.flow import B, Handler, R, Request
from judge_service.flow.bucket import MICRO, Bucket, Limit

__all__ = ["Limit", "RateLimit", "RateLimitStatistics"]


class RateLimitStatistics(Struct, frozen=True, kw_only=True):
    """waiting: calls in the queue. in_flight: reservations not settled yet.

    granted, refused: reservations made, and refused because their turn would come too late.
    level: units in each bucket when it was last looked at, negative for a debt.
    reserved: units of each resource that the calls in flight hold.
    """

    waiting: int
    in_flight: int
    granted: int
    refused: int
    level: Mapping[str, float]
    reserved: Mapping[str, float]


class _Waiter:
    """A call in the queue. `turn` is set when its costs have been taken for it."""

    __slots__ = ("costs", "turn")

    def __init__(self, costs: list[int], turn: asyncio.Future[None]) -> None:
        self.costs = costs
        self.turn = turn


class RateLimit(Generic[B, R]):
    """Lets calls through in the order of arrival as the quota fills, all resources or none.

    limits: by the resource's name; none at all costs nothing.
    reserve: what a body will cost at most, units by name; a name without a limit is ignored.
    charge: what an answered call did cost; the difference is given back, or taken as a debt.

    A call that failed gives all back unless its error says `charged`; a cancelled or broken one
    keeps its reservation if it had been sent. A call whose turn would come after its deadline is
    refused at once.

    Raises DeadlineExceeded.
    """

    def __init__(
        self,
        *,
        limits: Mapping[str, Limit],
        reserve: Callable[[B], Mapping[str, int]],
        charge: Callable[[B, R], Mapping[str, int]],
    ) -> None:
        self._limits = dict(limits)
        self._reserve = reserve
        self._charge = charge
        self._names = tuple(limits)
        self._buckets = [Bucket(limit) for limit in limits.values()]
        self._nothing = [0] * len(limits)
        self._queue: OrderedDict[_Waiter, None] = OrderedDict()
        self._queued = list(self._nothing)
        self._timer: asyncio.TimerHandle | None = None
        self._in_flight = self._granted = self._refused = 0

    def __repr__(self) -> str:
        limits = (
            f"{name}={limit.per_minute:.12g}/min with {limit.burst_s:g} s at once"
            for name, limit in self._limits.items()
        )
        return f"RateLimit({', '.join(limits)})"

    def statistics(self) -> RateLimitStatistics:
        """What is held now and what happened so far."""
        levels = (bucket.level / MICRO for bucket in self._buckets)
        reserved = (bucket.reserved / MICRO for bucket in self._buckets)
        return RateLimitStatistics(
            waiting=len(self._queue),
            in_flight=self._in_flight,
            granted=self._granted,
            refused=self._refused,
            level=dict(zip(self._names, levels, strict=True)),
            reserved=dict(zip(self._names, reserved, strict=True)),
        )

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if not self._names:
            return await call_next(request)
        costs = self._amounts(self._reserve(request.body))
        if self._queue or not self._take(costs):
            await self._wait(costs, request.deadline)
        charged = costs
        try:
            result = await call_next(request)
            charged = self._amounts(self._charge(request.body, result))
        except CallError as error:
            if not error.charged:
                charged = self._nothing
            raise
        except BaseException:
            if not request.sent_at:
                charged = self._nothing
            raise
        finally:
            self._settle(costs, charged)
        return result

    def _amounts(self, units: Mapping[str, int]) -> list[int]:
        return [units.get(name, 0) * MICRO for name in self._names]

    def _take(self, costs: list[int]) -> bool:
        """Reserves from every bucket or from none."""
        now_us = _now_us()
        if not all(map(Bucket.has, self._buckets, costs, repeat(now_us))):
            return False
        for bucket, cost in zip(self._buckets, costs):  # noqa: B905 - hot, and made by _amounts
            bucket.reserve(cost)
        self._in_flight += 1
        self._granted += 1
        return True

    def _settle(self, costs: list[int], charged: list[int]) -> None:
        for bucket, cost, used in zip(self._buckets, costs, charged):  # noqa: B905 - as above
            if used > cost:
                bucket.fill(_now_us())
            bucket.settle(cost, used)
        self._in_flight -= 1
        if self._queue:
            self._let_in()

    async def _wait(self, costs: list[int], deadline: float) -> None:
        loop = asyncio.get_running_loop()
        if deadline < inf:
            self._refuse_if_too_late(costs, deadline)
        waiter = _Waiter(costs, loop.create_future())
        self._join(waiter)
        try:
            await waiter.turn
        except asyncio.CancelledError:
            self._leave(waiter)
            raise

    def _refuse_if_too_late(self, costs: list[int], deadline: float) -> None:
        turns_us = map(Bucket.ready_at_us, self._buckets, costs, self._queued)
        late_s = max(turns_us) / MICRO - deadline
        if late_s > 0:
            self._refused += 1
            raise DeadlineExceeded(
                f"the quota would give this call its turn {late_s:.1f} s after its deadline;"
                f" {len(self._queue)} calls wait before it"
            )

    def _join(self, waiter: _Waiter) -> None:
        self._queue[waiter] = None
        for index, cost in enumerate(waiter.costs):
            self._queued[index] += cost
        if len(self._queue) == 1:
            self._set_timer()

    def _unqueue(self, waiter: _Waiter) -> None:
        del self._queue[waiter]
        self._queued = list(map(sub, self._queued, waiter.costs))

    def _leave(self, waiter: _Waiter) -> None:
        """A cancelled waiter frees its place, or gives back what came together with the end."""
        if waiter in self._queue:
            self._unqueue(waiter)
            self._let_in()
        elif not waiter.turn.cancelled():
            self._settle(waiter.costs, self._nothing)

    def _let_in(self) -> None:
        """Grants from the head of the queue while there is room, then sets the timer for the next."""
        while self._queue:
            waiter = next(iter(self._queue))
            if waiter.turn.done():  # cancelled in this very moment: take nothing for it
                self._unqueue(waiter)
            elif self._take(waiter.costs):
                self._unqueue(waiter)
                waiter.turn.set_result(None)
            else:
                break
        self._set_timer()

    def _set_timer(self) -> None:
        """One timer, for the head. A timer that is early is left alone: it will set itself again."""
        if not self._queue:
            self._stop_timer()
            return
        costs = next(iter(self._queue)).costs
        ready_us = max(map(Bucket.ready_at_us, self._buckets, costs))
        if self._timer is None or ready_us / MICRO < self._timer.when():
            self._stop_timer()
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(ready_us / MICRO, self._on_timer)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _on_timer(self) -> None:
        self._timer = None
        self._let_in()


def _now_us() -> int:
    return int(asyncio.get_running_loop().time() * MICRO + 0.5)  # half the cost of round()
