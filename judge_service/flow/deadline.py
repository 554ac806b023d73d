"""Enforces the absolute deadline of a request."""

import asyncio
from collections.abc import Awaitable
from math import inf

from msgspec import Struct

from judge_service.errors import DeadlineExceeded
from judge_service.flow import B, Handler, R, Request

STALLED_S = 0.01
"""A timer that is late by this, seconds, means that the loop was stalled; usually it is microseconds."""

GRACE_S = 0.02
"""Time after a stall in which answers that arrived during it can be delivered, seconds. That needs a few
iterations of the loop, which take milliseconds in a busy loop."""


class DeadlineStatistics(Struct, frozen=True, kw_only=True):
    """refused: requests whose deadline had passed. cut_off: requests in work at their deadline."""

    refused: int
    cut_off: int


class Deadline:
    """Ends a request at its deadline, and does not begin one that has passed it.

    If the loop was stalled past the deadline, an answer that arrived during the stall is returned.

    A deadline of `inf` costs nothing. A cancellation from outside remains a cancellation, also if
    it comes together with the deadline.

    Raises DeadlineExceeded.
    """

    def __init__(self) -> None:
        self._refused = 0
        self._cut_off = 0

    def __repr__(self) -> str:
        return "Deadline()"

    def statistics(self) -> DeadlineStatistics:
        """The counts so far."""
        return DeadlineStatistics(refused=self._refused, cut_off=self._cut_off)

    def __call__(self, request: Request[B], call_next: Handler[B, R]) -> Awaitable[R]:
        if request.deadline == inf:
            return call_next(request)
        return self._in_time(request, call_next)

    async def _in_time(self, request: Request[B], call_next: Handler[B, R]) -> R:
        late_s = asyncio.get_running_loop().time() - request.deadline
        if late_s >= 0:
            self._refused += 1
            raise DeadlineExceeded(f"the deadline had passed {late_s:.3f} s before the call began")
        bell = _Bell(request.deadline)
        try:
            return await call_next(request)
        except asyncio.CancelledError:
            if not bell.answers_for_it():
                raise
            self._cut_off += 1
            raise DeadlineExceeded("the deadline came before the judge's answer") from None
        finally:
            bell.put_away()


class _Bell:
    """Cancels the task in which it was made at a time, or a little later if the loop was stalled.

    It does the same as `asyncio.timeout_at` in fewer steps, because every sample needs it.
    """

    __slots__ = ("_before", "_handle", "_has_rung", "_loop", "_task")

    def __init__(self, when: float) -> None:
        self._loop = asyncio.get_running_loop()
        task = asyncio.current_task(self._loop)
        if task is None:
            raise RuntimeError("a deadline needs a task to cancel")
        self._task = task
        self._before = task.cancelling()
        self._has_rung = False
        self._handle = self._loop.call_at(when, self._ring, when)

    def answers_for_it(self) -> bool:
        """Whether the cancellation came only from this bell; if so, withdraws it."""
        if not self._has_rung:
            return False
        self._has_rung = False
        return self._task.uncancel() <= self._before

    def put_away(self) -> None:
        self._handle.cancel()
        if self._has_rung:  # it came with the answer, or with another error
            self._task.uncancel()

    def _ring(self, when: float) -> None:
        now = self._loop.time()
        if now - when > STALLED_S:
            self._handle = self._loop.call_at(now + GRACE_S, self._cancel)
        else:
            self._cancel()

    def _cancel(self) -> None:
        self._has_rung = True
        self._task.cancel()
