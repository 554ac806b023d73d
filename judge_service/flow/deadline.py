"""Enforces the absolute deadline of a request."""

import asyncio
from math import inf

from msgspec import Struct

from judge_service.errors import DeadlineExceeded
from judge_service.flow import B, Handler, R, Request

STALLED_S = 0.01
"""A timer that is late by so many seconds shows that the loop stood still; normally it is microseconds."""

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
    """Cancels the task it was made in at a time, or a little after it when the loop stood still.

    What `asyncio.timeout_at` does, in fewer steps: every sample passes here.
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
        """Whether the cancellation is this bell's and nobody else's; takes it back then."""
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
