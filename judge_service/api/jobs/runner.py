"""The runner of one job: judges the rows that have no result yet and writes each result to the disk."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from msgspec.structs import replace

from judge_service.api.jobs.job_file import Facts, JobFile, JobFileError, Result
from judge_service.api.jobs.result_writer import ResultWriter
from judge_service.api.jobs.store import JobLock, JobStore
from judge_service.api.json_response import encode
from judge_service.service import JudgeService
from judge_service.telemetry.trace import carry
from judge_service.values import Reward, Sample, Wait
from judge_service.wire import decode_row, read_json
from judge_service.wire.native import native_reward

ROWS_AT_ONCE = 64
"""Read from the disk together; each may be a megabyte."""

MISTAKE = "the service failed; its log has the details"

LOG = logging.getLogger("judge_service.api")

Offload = Callable[..., Awaitable[Any]]
"""Runs a blocking function on the jobs' thread."""


class JobRunner:
    """Runs one job in this worker: first `take`, then, if that gave `True`, `work`.

    offload: runs a blocking function on the jobs' thread.
    finished: called with the number of samples that were judged.
    """

    def __init__(
        self,
        judge: JudgeService,
        store: JobStore,
        facts: Facts,
        *,
        offload: Offload,
        finished: Callable[[int], None],
    ) -> None:
        self.id = facts.id
        self.tenant = facts.tenant
        self._judge = judge
        self._store = store
        self._reasons = facts.reasons
        self._offload = offload
        self._finished = finished
        self._is_stopping = self._is_waiting = False
        self._task: asyncio.Task[None] | None = None
        self._lock: JobLock | None = None
        self._job: JobFile | None = None

    def __repr__(self) -> str:
        return f"<JobRunner {self.id}>"

    def stop(self) -> None:
        """Begins no more rows; those at work are finished, unless they wait for a judge that is down."""
        self._is_stopping = True
        if self._is_waiting and self._task is not None:
            self._task.cancel()

    def take(self) -> bool:
        """Whether the job is ours now; `False` when another worker has it or it has ended. Blocks."""
        self._lock = self._store.take(self.id)
        if self._lock is None:
            return False
        try:
            self._job = self._store.open(self.id)
            began = partial(_began, judge=judge_of(self._judge), now=time.time())
            is_ours = self._job.change(began).state == "running"
        except FileNotFoundError:
            self._store.remove(self.id)  # somebody has just forgotten it; the lock is of our making
            is_ours = False
        except BaseException:
            self.close()
            raise
        if not is_ours:
            self.close()
        return is_ours

    def is_cancelled(self) -> bool:
        """Whether somebody has ended it, perhaps through another worker. Blocks."""
        return self._job is not None and self._job.facts().is_finished

    def close(self) -> None:
        """Lets go of the job. Blocks."""
        if self._job is not None:
            self._job.close()
            self._job = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def work(self) -> None:
        """Until every row has its result, or `stop`, or cancellation, after which it waits again.

        Raises JobFileError if the disk fails; what was committed is kept. Any other error fails the job.
        """
        self._task = asyncio.current_task()
        try:
            with carry(request_id=self.id):
                await self._judge_rows()
            await self._offload(self._leave)
        except asyncio.CancelledError:
            await self._offload(self._leave)
            raise
        except JobFileError:
            raise
        except Exception:
            LOG.exception("job %s failed", self.id)
            await self._offload(self._fail)
        finally:
            await self._offload(self.close)

    async def _judge_rows(self) -> None:
        async with ResultWriter(self._commit) as writer:
            stream = self._judge.stream(
                self._rows(), lane="bulk", job=self.tenant, tell=self._note_wait
            )
            async with aclosing(stream) as ready:
                async for (position, sample), reward in ready:
                    await writer.add(self._result(position, sample, reward))

    async def _rows(self) -> AsyncGenerator[tuple[tuple[int, Sample], Sample]]:
        after = -1
        while rows := await self._offload(self._file.undone, after, ROWS_AT_ONCE):
            for position, row in rows:
                if self._is_stopping:
                    return
                sample = decode_row(read_json(row, max_bytes=len(row)), f"row {position}")
                yield (position, sample), sample
            after = rows[-1][0]

    async def _note_wait(self, wait: Wait) -> None:
        """Puts into the job's facts that it waits for the judge, or that it goes on."""
        if wait.is_over or not self._is_waiting:
            LOG.warning(
                "job %s %s", self.id, "goes on" if wait.is_over else f"waits: {wait.reason}"
            )
        self._is_waiting = not wait.is_over
        if self._is_stopping:
            self.stop()
        await self._offload(self._file.change, partial(_waited, wait=wait, now=time.time()))

    def _result(self, position: int, sample: Sample, reward: Reward) -> Result:
        line = native_reward(
            sample,
            reward,
            self._judge.settings.wire.score_range,
            reasons=self._reasons,
            index=position,
        )
        return Result(position, reward.reason, encode(line))

    async def _commit(self, results: Sequence[Result]) -> None:
        await self._offload(self._file.commit, results)
        self._finished(len(results))

    def _leave(self) -> None:
        self._file.change(partial(_left, now=time.time()))

    def _fail(self) -> None:
        self._file.change(partial(_failed, detail=MISTAKE, now=time.time()))

    @property
    def _file(self) -> JobFile:
        assert self._job is not None  # noqa: S101 - `take` comes first
        return self._job


def judge_of(judge: JudgeService) -> str:
    """What measures: model and rubric. Scores of two of them must not be mixed in one job."""
    seen = judge.statistics()
    return f"{seen.model} with {seen.rubric}"


def _began(facts: Facts, *, judge: str, now: float) -> Facts:
    if facts.is_finished:
        return facts
    if facts.judge not in ("", judge):
        detail = f"it was begun by {facts.judge}, and the judge is now {judge}; send the rest again"
        return _failed(facts, detail=detail, now=now)
    return _running(replace(facts, judge=judge), now)


def _running(facts: Facts, now: float) -> Facts:
    return replace(
        facts,
        state="running",
        started_at=now,
        done_before=facts.done,
        reason="",
        until=0.0,
        detail="",
    )


def _waited(facts: Facts, *, wait: Wait, now: float) -> Facts:
    if facts.is_finished:  # cancelled meanwhile
        return facts
    if wait.is_over:
        return _running(facts, now)
    return replace(
        facts, state="waiting", reason=wait.reason, until=now + wait.next_s, detail=wait.detail
    )


def _failed(facts: Facts, *, detail: str, now: float) -> Facts:
    return replace(facts, state="failed", finished_at=now, reason="", until=0.0, detail=detail)


def _left(facts: Facts, *, now: float) -> Facts:
    if facts.is_finished:
        return facts
    left = replace(facts, reason="", until=0.0, detail="")
    if facts.done == facts.total:
        return replace(left, state="done", finished_at=now)
    return replace(left, state="queued")
