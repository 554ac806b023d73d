"""Coalescing: equal questions that are asked at the same time share one call."""

import asyncio
import copy
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, Generic

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.flow.detach import Detached


class CoalesceStatistics(Struct, frozen=True, kw_only=True):
    """flights: calls that can be joined. waiting: callers that wait for them. joined: calls saved so far."""

    flights: int
    waiting: int
    joined: int


class _Flight(Generic[R]):
    """A shared call and its callers."""

    __slots__ = ("request", "shared", "task", "waiters", "weight")

    task: asyncio.Task[R]

    def __init__(self, request: Request[Any], weight: int) -> None:
        self.request = request
        self.weight = weight
        self.waiters: set[asyncio.Future[None]] = set()
        self.shared = False

    def land(self) -> None:
        """Wakes the callers; they read the task's result in the loop's next iteration, when it has ended."""
        for waiter in self.waiters:
            if not waiter.done():
                waiter.set_result(None)

    def result(self) -> R:
        """The result, or the error. Each of several callers gets its own copy of the error."""
        if self.shared:
            error = None if self.task.cancelled() else self.task.exception()
            if isinstance(error, CallError):
                raise copy.copy(error) from error
        return self.task.result()


class Coalesce(Generic[B, R]):
    """Lets requests with equal bodies share a call in flight.

    A request joins only a flight whose deadline is not earlier than its own, and whose lane is not lighter,
    so that it does not wait longer for its turn. Otherwise it starts another
    flight. A flight that is worse than the new one in both respects is no longer joined; the others
    remain, so that there is at most one flight per weight, and a request joins the heaviest possible
    one. Worked example: a bulk flight has a deadline in an hour. An interactive request with a deadline
    in 10 s starts a second flight; bulk requests with a deadline in an hour still join the first.

    A flight is a separate task, which continues while any caller waits. When the last one
    leaves, a flight whose call is on the wire continues in the background, and any other is cancelled
    (`Detached.leave`). All callers of a failed flight get its error.

    key: equal for bodies that have the same answer.
    weight: the weight of a lane; a call in a heavier lane is sent earlier.
    detached: takes the flights that continue in the background.
    """

    def __init__(
        self, *, key: Callable[[B], str], weight: Callable[[str], int], detached: Detached
    ) -> None:
        self._key = key
        self._weight = weight
        self._detached = detached
        self._flights: dict[str, list[_Flight[R]]] = {}  # by key, the heaviest first
        self._waiting = 0
        self._joined = 0

    def __repr__(self) -> str:
        return "Coalesce()"

    def statistics(self) -> CoalesceStatistics:
        """The flights now, and the counts so far."""
        flights = sum(map(len, self._flights.values()))
        return CoalesceStatistics(flights=flights, waiting=self._waiting, joined=self._joined)

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        key = self._key(request.body)
        weight = self._weight(request.lane)
        flight = self._find(key, request.deadline, weight)
        if flight is None:
            flight = self._take_off(key, _Flight(request.again(), weight), call_next)
        else:
            flight.shared = True
            self._joined += 1
        landed = asyncio.get_running_loop().create_future()
        flight.waiters.add(landed)
        self._waiting += 1
        try:
            await landed
        except asyncio.CancelledError:
            flight.waiters.discard(landed)
            if not flight.waiters:
                await self._give_up(key, flight)
            raise
        finally:
            self._waiting -= 1
        return flight.result()

    def _find(self, key: str, deadline: float, weight: int) -> _Flight[R] | None:
        for flight in self._flights.get(key, ()):
            if flight.request.deadline >= deadline and flight.weight >= weight:
                return flight
        return None

    def _take_off(self, key: str, flight: _Flight[R], call_next: Handler[B, R]) -> _Flight[R]:
        flight.task = asyncio.get_running_loop().create_task(self._fly(key, flight, call_next))
        others = self._flights.get(key)
        self._flights[key] = [flight] if others is None else _on_offer(flight, others)
        return flight

    async def _fly(self, key: str, flight: _Flight[R], call_next: Handler[B, R]) -> R:
        """Runs a flight, and wakes its callers itself: a callback of the task would cost loop iterations."""
        try:
            return await call_next(flight.request)
        finally:
            self._forget(key, flight)
            flight.land()

    async def _give_up(self, key: str, flight: _Flight[R]) -> None:
        self._forget(key, flight)  # first, so that no request joins a call that is ending
        if self._detached.leave(flight.task, flight.request):
            await asyncio.wait((flight.task,))

    def _forget(self, key: str, flight: _Flight[R]) -> None:
        flights = self._flights.get(key, [])
        if flight in flights:  # a later one may have replaced it
            flights.remove(flight)
            if not flights:
                del self._flights[key]


def _on_offer(flight: _Flight[R], others: Sequence[_Flight[R]]) -> list[_Flight[R]]:
    """A new flight and those that are better than it in one respect, the heaviest first."""
    not_outdone = [
        other
        for other in others
        if other.weight > flight.weight or other.request.deadline > flight.request.deadline
    ]
    return sorted([flight, *not_outdone], key=attrgetter("weight"), reverse=True)
