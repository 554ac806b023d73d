"""Sees that every job is worked on: by one worker at a time, and again when that one has died."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from judge_service.api.jobs.job_file import Facts, JobFileError
from judge_service.api.jobs.runner import Off, Run
from judge_service.api.jobs.store import Shelf
from judge_service.service import JudgeService

RUNS_AT_ONCE = 4
"""Jobs that one worker has at work; tenants take turns, so that a long job does not shut out a short one."""

LOOK_S = 1.0
"""How soon a dead worker's job is taken over, and a cancellation is seen."""

SWEEP_S = 60.0
FAILED_S = 30.0
"""A job whose disk failed is not tried again before."""

LOG = logging.getLogger("judge_service.api")


class Foreman:
    """This worker's share of the jobs. finished: told how many samples were judged."""

    def __init__(
        self, judge: JudgeService, shelf: Shelf, off: Off, finished: Callable[[int], None]
    ) -> None:
        self._judge = judge
        self._shelf = shelf
        self._off = off
        self._finished = finished
        self._runs: dict[Run, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._sweep_at = 0.0
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Foreman of {len(self._runs)} runs>"

    def start(self) -> None:
        """Begins to look for work."""
        self._task = asyncio.create_task(self._look())

    def wake(self) -> None:
        """There may be something to do."""
        self._woken.set()

    def stop(self) -> None:
        """Begins no more rows; those at work are finished."""
        self._is_stopping = True
        for run in self._runs:
            run.stop()
        self.wake()

    async def aclose(self, until: float) -> None:
        """Ends; what is still at work at `until` (loop seconds) is cancelled and waits for the next start."""
        self.stop()
        if self._task is not None:
            await self._task
        tasks = list(self._runs.values())
        if tasks:
            left_s = until - asyncio.get_running_loop().time()
            await asyncio.wait(tasks, timeout=max(0.0, left_s))
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _look(self) -> None:
        while not self._is_stopping:
            try:
                await self._tend()
            except Exception:
                LOG.exception("jobs cannot be looked after; trying again")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            self._woken.clear()

    async def _tend(self) -> None:
        for run, task in tuple(self._runs.items()):
            with suppress(JobFileError):  # the run meets the same and deals with it
                if not task.done() and await self._off(run.is_cancelled):
                    task.cancel()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            await self._off(self._shelf.sweep, time.time())
        await self._begin(await self._off(self._shelf.waiting))

    async def _begin(self, waiting: list[Facts]) -> None:
        """Takes what nobody has, of the tenants with the fewest jobs at work here first."""
        now = time.monotonic()
        here = {run.id for run in self._runs}
        left = [f for f in waiting if f.id not in here and self._not_before.get(f.id, now) <= now]
        while left and len(self._runs) < RUNS_AT_ONCE and not self._is_stopping:
            at_work = Counter(run.tenant for run in self._runs)
            chosen = min(left, key=lambda facts: at_work[facts.tenant])  # the oldest of equals
            left.remove(chosen)
            await self._try(chosen)

    async def _try(self, facts: Facts) -> None:
        run = Run(self._judge, self._shelf, facts, off=self._off, finished=self._finished)
        try:
            is_ours = await self._off(run.take)
        except (JobFileError, OSError) as problem:
            self._put_off(run.id, problem)
            return
        if is_ours:
            if self._is_stopping:  # it was told while we waited
                run.stop()
            task = self._runs[run] = asyncio.create_task(run.work())
            task.add_done_callback(lambda ended: self._ended(run, ended))

    def _ended(self, run: Run, task: asyncio.Task[None]) -> None:
        del self._runs[run]
        self.wake()
        self._not_before.pop(run.id, None)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._put_off(run.id, problem)

    def _put_off(self, job_id: str, problem: BaseException) -> None:
        self._not_before[job_id] = time.monotonic() + FAILED_S
        LOG.error("job %s is tried again in %g s: %s", job_id, FAILED_S, problem)
