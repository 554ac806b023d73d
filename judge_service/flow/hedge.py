"""Hedging: sends a second copy of a call that takes long ("The Tail at Scale", Dean and Barroso, 2013).

A batch waits for its slowest answer, so one answer in fifty at eight times the median decides how long
most batches take. It is off by default, because each copy is charged.
"""

import asyncio
from collections.abc import Callable
from typing import Generic

from msgspec import Struct

from judge_service.flow import B, Handler, R, Request
from judge_service.flow.detach import Detached
from judge_service.flow.latencies import Latencies
from judge_service.telemetry.events import Hedged, Sink

SHARE = 0.95
"""The copy is sent when the call takes longer than this share of the last calls."""

MAX_SAVED = 10.0
"""Most copies in the budget. More would be sent together when a judge becomes slow."""


HAIR_S = 1e-6
"""Largest time by which a timer may be early, seconds."""


class HedgeStatistics(Struct, frozen=True, kw_only=True):
    """calls: all calls. copies: second copies sent. won: copies that answered first.

    refused: times when a copy was due but the budget or the gate had no room.
    """

    calls: int
    copies: int
    won: int
    refused: int


class Hedge:
    """Sends a call again after the 95th percentile of the latency, and takes the first good answer.

    There is never a third copy. The other copy continues if it was sent, else it is cancelled and awaited
    (`Detached.leave`). If the first copy fails before the second was sent, the call fails; after that,
    the second is awaited. If both fail, the first error is raised. If there is no room for a copy, it is
    tried again after another such wait.

    Worked example: the 95th percentile of the latency is 0.9 s. A call has no answer after 0.9 s, so a copy
    is sent, and answers 0.3 s later. The call takes 1.2 s, and the first copy continues in the background.

    budget_ratio: copies as a share of the calls, 0 to 1; 0.05 fits a 95th percentile. Each
        call adds this share of a copy to the budget, up to 10.
    latencies: those of the backend. Nothing is sent twice before 20 answers.
    detached: takes the slower copy, if it was sent.
    may_hedge: whether the target has spare capacity (free quota, a free slot, no throttling lately).
    """

    def __init__(
        self,
        *,
        budget_ratio: float,
        latencies: Latencies,
        may_hedge: Callable[[], bool],
        detached: Detached,
        sink: Sink,
    ) -> None:
        self._ratio = budget_ratio
        self._latencies = latencies
        self._may_hedge = may_hedge
        self._detached = detached
        self._sink = sink
        self._saved = 0.0
        self._calls = self._copies = self._won = self._refused = 0

    def __repr__(self) -> str:
        return f"Hedge(budget={self._ratio * 100:g} %)"

    def statistics(self) -> HedgeStatistics:
        """The counts so far."""
        return HedgeStatistics(
            calls=self._calls, copies=self._copies, won=self._won, refused=self._refused
        )

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        self._calls += 1
        self._saved = min(self._saved + self._ratio, MAX_SAVED)
        after_s = self._latencies.quantile_s(SHARE)
        if after_s is None:
            return await call_next(request)
        copies = [_Copy(request, call_next)]
        try:
            await self._wait_for_room(copies[0], after_s)
            if copies[0].task.done():
                return copies[0].task.result()
            copies.append(_Copy(request, call_next))
            return await self._race([copy.task for copy in copies], after_s)
        finally:
            ending = [each.task for each in copies if self._detached.leave(each.task, each.request)]
            if ending:
                await asyncio.wait(ending)

    async def _wait_for_room(self, first: "_Copy[B, R]", after_s: float) -> None:
        """Waits until the call has ended, or until a copy is due and there is room for it.

        The time of a call counts from its sending: a call that waits in the gate's queue is not slow,
        and a copy would wait behind it. Until then the call is checked after 1, 2, 4, ... times `after_s`,
        because thousands may wait.
        """
        wait_s = after_s
        while True:
            await asyncio.wait((first.task,), timeout=wait_s)
            if first.task.done():
                return
            sent_at = first.request.sent_at
            if not sent_at:
                wait_s *= 2
                continue
            wait_s = sent_at + after_s - asyncio.get_running_loop().time()
            if wait_s > HAIR_S:
                continue
            if self._take():
                return
            self._refused += 1
            wait_s = after_s

    def _take(self) -> bool:
        if self._saved < 1 or not self._may_hedge():
            return False
        self._saved -= 1
        self._copies += 1
        return True

    async def _race(self, copies: list[asyncio.Task[R]], after_s: float) -> R:
        first, second = copies
        won = False
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
            if not any(map(_is_good, copies)):
                await asyncio.wait(copies)
            won = _is_good(second) and not _is_good(first)
            return second.result() if won else await first
        finally:
            self._won += won
            self._sink(Hedged(after_s=after_s, won=won))


class _Copy(Generic[B, R]):
    """A copy of a call, with its own task and envelope."""

    def __init__(self, request: Request[B], call_next: Handler[B, R]) -> None:
        self.request = request.again()
        self.task = asyncio.get_running_loop().create_task(self._run(call_next))

    async def _run(self, call_next: Handler[B, R]) -> R:
        return await call_next(self.request)


def _is_good(task: asyncio.Task[R]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
