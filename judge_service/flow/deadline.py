"""The absolute deadline of a request, enforced."""

import asyncio
from math import inf

from msgspec import Struct

from judge_service.errors import DeadlineExceeded
from judge_service.flow import B, Handler, R, Request

STALLED_S = 0.01
"""A timer that is so late says that the loop stood still; on time it is late by microseconds."""

GRACE_S = 0.02
"""After a stall, what arrived during it gets this long to come through: it takes a few turns of the
loop, which a busy loop makes in milliseconds."""


class DeadlineStatistics(Struct, frozen=True, kw_only=True):
    """refused: came when their deadline was past. cut_off: were still at work when it came."""

    refused: int
    cut_off: int


class Deadline:
    """Ends a request at its deadline, and does not begin one that has passed it.

    An answer that had arrived while the loop stood still is preferred to the deadline that passed
    meanwhile.

    A deadline of `inf` costs nothing. A cancellation from outside stays a cancellation, also when
    it comes together with the deadline.

    Raises DeadlineExceeded.
    """

    def __init__(self) -> None:
        self._refused = 0
        self._cut_off = 0

    def __repr__(self) -> str:
        return "Deadline()"

    def statistics(self) -> DeadlineStatistics:
        """What happened so far."""
        return DeadlineStatistics(refused=self._refused, cut_off=self._cut_off)

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if request.deadline == inf:
            return await call_next(request)
        late_s = asyncio.get_running_loop().time() - request.deadline
        if late_s >= 0:
            self._refused += 1
            raise DeadlineExceeded(f"the deadline had passed {late_s:.3f} s before the call began")
        scope = asyncio.timeout(None)
        timer = _Timer(scope, request.deadline)
        try:
            async with scope:
                return await call_next(request)
        except TimeoutError as error:
            if not (scope.expired() and isinstance(error.__cause__, asyncio.CancelledError)):
                raise  # a time-out of the handler's own
            self._cut_off += 1
            raise DeadlineExceeded("the deadline came before the judge's answer") from None
        finally:
            timer.cancel()


class _Timer:
    """Ends a scope at a time, or a little after it when the loop stood still."""

    __slots__ = ("_handle", "_loop", "_scope")

    def __init__(self, scope: asyncio.Timeout, when: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._scope = scope
        self._handle = self._loop.call_at(when, self._ring, when)

    def cancel(self) -> None:
        self._handle.cancel()

    def _ring(self, when: float) -> None:
        now = self._loop.time()
        late = now - when > STALLED_S
        if late:
            self._handle = self._loop.call_at(now + GRACE_S, self._scope.reschedule, now)
        else:
            self._scope.reschedule(now)
