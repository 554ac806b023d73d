"""Hedging: sends a second copy of a call that takes long ("The Tail at Scale", Dean and Barroso, 2013).

A batch waits for its slowest answer, so one answer in fifty at eight times the median decides how long
most batches take. Off unless it is put into the stack, because each copy is billed.
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
"""The copy is sent when the call takes longer than this share of the last ones."""

MAX_SAVED = 10.0
"""Most copies that the budget saves up. More would leave together when a judge becomes slow."""


HAIR_S = 1e-6
"""Timers may be early by less."""


class HedgeStatistics(Struct, frozen=True, kw_only=True):
    """calls: all. copies: second copies sent. won: those that answered first.

    refused: moments at which a copy was due and the budget or the gate had no room for it.
    """

    calls: int
    copies: int
    won: int
    refused: int


class Hedge:
    """Sends a call again after the 95th percentile of the latency, and takes the first good answer.

    Never a third copy. The other copy goes on if it was sent, else it is cancelled and waited for
    (`Detached.leave`). A first copy that fails before the second was sent fails the call; after that,
    the second is waited for. If both fail, the first one's error is raised. A copy that is refused is
    asked for again after another such wait.

    budget_ratio: copies as a share of the calls, 0 to 1; 0.05 is what a 95th percentile asks for. Each
        call saves that share of a copy, up to 10 of them.
    latencies: of the backend. Nothing is sent twice before it has seen 20 answers.
    detached: takes the copy that lost, if it was sent.
    may_hedge: whether the target has room to spare now (free quota, a free slot, no throttling lately).
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
        """What happened so far."""
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
        """Until the call has ended, or a copy is due and there is room for it.

        A call that waits in the gate's queue is not slow, and a copy would only wait behind it: its time
        counts from when it was sent. Until then it is looked at after 1, 2, 4, ... times `after_s`, because
        thousands may wait.
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
    """A copy of a call: a task and an envelope of its own."""

    def __init__(self, request: Request[B], call_next: Handler[B, R]) -> None:
        self.request = request.again()
        self.task = asyncio.get_running_loop().create_task(self._run(call_next))

    async def _run(self, call_next: Handler[B, R]) -> R:
        return await call_next(self.request)


def _is_good(task: asyncio.Task[R]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None
