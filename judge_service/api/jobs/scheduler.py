"""The scheduler of jobs: starts a runner for each waiting job, and takes over the jobs of dead workers."""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

from judge_service.api.jobs.job_file import Facts, JobFileError
from judge_service.api.jobs.runner import JobRunner, Offload
from judge_service.api.jobs.store import JobStore
from judge_service.service import JudgeService

RUNS_AT_ONCE = 4
"""Most jobs that one worker runs at once; tenants take turns, so that long jobs do not block short ones."""

LOOK_S = 1.0
"""Interval of the checks for jobs of dead workers and for cancellations, seconds."""

SWEEP_S = 60.0
FAILED_S = 30.0
"""Wait before a job is tried again after its disk failed, seconds."""

LOG = logging.getLogger("judge_service.api")


class JobScheduler:
    """Runs this worker's share of the jobs.

    finished: called with the number of judged samples.
    """

    def __init__(
        self,
        judge: JudgeService,
        store: JobStore,
        offload: Offload,
        finished: Callable[[int], None],
    ) -> None:
        self._judge = judge
        self._store = store
        self._offload = offload
        self._finished = finished
        self._runners: dict[JobRunner, asyncio.Task[None]] = {}
        self._not_before: dict[str, float] = {}
        self._woken = asyncio.Event()
        self._sweep_at = 0.0
        self._is_stopping = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<JobScheduler of {len(self._runners)} runners>"

    def start(self) -> None:
        """Starts to look for jobs."""
        self._task = asyncio.create_task(self._look())

    def wake(self) -> None:
        """Checks for jobs at once."""
        self._woken.set()

    def stop(self) -> None:
        """Starts no more rows; rows in work are finished."""
        self._is_stopping = True
        for runner in self._runners:
            runner.stop()
        self.wake()

    async def aclose(self, until: float) -> None:
        """Ends. Jobs still running at `until` (loop seconds) are cancelled and wait for the next start."""
        self.stop()
        if self._task is not None:
            await self._task
        tasks = list(self._runners.values())
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
                LOG.exception("the scheduler of jobs failed; trying again")
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._woken.wait()
            self._woken.clear()

    async def _tend(self) -> None:
        for runner, task in tuple(self._runners.items()):
            with suppress(JobFileError):  # the runner meets the same error and handles it
                if not task.done() and await self._offload(runner.is_cancelled):
                    task.cancel()
        now = time.monotonic()
        if now >= self._sweep_at:
            self._sweep_at = now + SWEEP_S
            await self._offload(self._store.sweep, time.time())
        await self._begin(await self._offload(self._store.waiting))

    async def _begin(self, waiting: list[Facts]) -> None:
        """Starts free jobs; tenants with the fewest running jobs in this worker come first."""
        now = time.monotonic()
        here = {runner.id for runner in self._runners}
        left = [f for f in waiting if f.id not in here and self._not_before.get(f.id, now) <= now]
        while left and len(self._runners) < RUNS_AT_ONCE and not self._is_stopping:
            at_work = Counter(runner.tenant for runner in self._runners)
            chosen = min(
                left, key=lambda facts: at_work[facts.tenant]
            )  # the oldest if several are equal
            left.remove(chosen)
            await self._try(chosen)

    async def _try(self, facts: Facts) -> None:
        runner = JobRunner(
            self._judge, self._store, facts, offload=self._offload, finished=self._finished
        )
        try:
            is_ours = await self._offload(runner.take)
        except (JobFileError, OSError) as problem:
            self._put_off(runner.id, problem)
            return
        if is_ours:
            if self._is_stopping:  # `stop` was called in the meantime
                runner.stop()
            task = self._runners[runner] = asyncio.create_task(runner.work())
            task.add_done_callback(lambda ended: self._ended(runner, ended))

    def _ended(self, runner: JobRunner, task: asyncio.Task[None]) -> None:
        del self._runners[runner]
        self.wake()
        self._not_before.pop(runner.id, None)
        if not task.cancelled() and (problem := task.exception()) is not None:
            self._put_off(runner.id, problem)

    def _put_off(self, job_id: str, problem: BaseException) -> None:
        self._not_before[job_id] = time.monotonic() + FAILED_S
        LOG.error("job %s is tried again in %g s: %s", job_id, FAILED_S, problem)
