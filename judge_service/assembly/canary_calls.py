"""Judges canaries with a batch: samples with a known reward that check the judge (docs/guards.md)."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from judge_service.assembly.graders import Asking
from judge_service.flow import Request
from judge_service.grading import DRAW_STEP, Canary, JudgeMonitor
from judge_service.values import Sample

CANARY_GRACE_S = 0.5
"""How long a finished batch waits for its canaries, seconds; short, because a late canary costs little."""


@asynccontextmanager
async def canaries_beside(
    canaries: Sequence[Canary],
    askings: Sequence[Asking],
    monitor: JudgeMonitor,
    request_of: Callable[[Sample], Request[Sample]],
) -> AsyncIterator[None]:
    """Judges canaries while the block runs, and cancels those unfinished `CANARY_GRACE_S` after it.

    request_of: makes the request for one canary, with the deadline and lane of the batch.
    """
    draw = monitor.canaries.draw

    async def grade(canary: Canary) -> None:
        request = request_of(canary.sample)
        rewards = [await asking.grader(request, draw=draw, draws=DRAW_STEP) for asking in askings]
        monitor.note_canary(canary, rewards)

    tasks = [asyncio.create_task(grade(canary)) for canary in canaries]
    try:
        yield
        await asyncio.wait(tasks, timeout=CANARY_GRACE_S)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
