"""The absolute deadline of a request, enforced."""

import asyncio
from math import inf

from msgspec import Struct

from judge_service.errors import DeadlineExceeded
from judge_service.flow import B, Handler, R, Request


class DeadlineStatistics(Struct, frozen=True, kw_only=True):
    """refused: came when their deadline was past. cut_off: were still at work when it came."""

    refused: int
    cut_off: int


class Deadline:
    """Ends a request at its deadline, and does not begin one that has passed it.

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
        scope = asyncio.timeout_at(request.deadline)
        try:
            async with scope:
                return await call_next(request)
        except TimeoutError as error:
            if not (scope.expired() and isinstance(error.__cause__, asyncio.CancelledError)):
                raise  # a time-out of the handler's own
            self._cut_off += 1
            raise DeadlineExceeded("the deadline came before the judge's answer") from None
