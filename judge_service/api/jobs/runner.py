"""The runner of one job: judges the rows without a result, and writes each result to disk."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
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
from judge_service.values import Reward, Sample, Wait, differences
from judge_service.wire import decode_row, read_json
from judge_service.wire.native import native_reward

ROWS_AT_ONCE = 64
"""Rows read from the disk at once; each may have a megabyte."""

MISTAKE = "the service failed; its log has the details"

LOG = logging.getLogger("judge_service.api")

Offload = Callable[..., Awaitable[Any]]
"""Runs a blocking function on the jobs' thread."""


class JobRunner:
    """Runs one job in this worker: call `take`, and `work` if it returned `True`.

    offload: runs a blocking function on the jobs' thread.
    finished: called with the number of judged samples.
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
        """Starts no more rows; rows in work are finished, unless they wait for a judge that is down."""
        self._is_stopping = True
        if self._is_waiting and self._task is not None:
            self._task.cancel()

    def take(self) -> bool:
        """Locks the job. `False` if another worker has it or it has ended. Blocks."""
        self._lock = self._store.take(self.id)
        if self._lock is None:
            return False
        try:
            self._job = self._store.open(self.id)
            began = partial(
                _began,
                judge=judge_of(self._judge),
                instrument=instrument_of(self._judge),
                now=time.time(),
            )
            is_ours = self._job.change(began).state == "running"
        except FileNotFoundError:
            self._store.remove(
                self.id
            )  # the job has just been deleted, and taking the lock has made a new file
            is_ours = False
        except BaseException:
            self.close()
            raise
        if not is_ours:
            self.close()
        return is_ours

    def is_cancelled(self) -> bool:
        """Whether the job was cancelled, perhaps through another worker. Blocks."""
        return self._job is not None and self._job.facts().is_finished

    def close(self) -> None:
        """Releases the job. Blocks."""
        if self._job is not None:
            self._job.close()
            self._job = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    async def work(self) -> None:
        """Judges rows until all have a result, or until `stop` or a cancellation; then the job waits again.

        Raises JobFileError if the disk fails; committed results are kept. Any other error fails the job.
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
        """Stores in the job's facts that it waits for the judge, or that it continues."""
        if wait.is_over or not self._is_waiting:
            LOG.warning(
                "job %s %s", self.id, "continues" if wait.is_over else f"waits: {wait.reason}"
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
    """The name of the judge for people: model and rubric."""
    seen = judge.statistics()
    return f"{seen.model} with {seen.rubric}"


def instrument_of(judge: JudgeService) -> dict[str, str]:
    """The instrument and the range of the written results; a job must have only one."""
    return {**judge.instrument, "wire.score_range": judge.settings.wire.score_range}


def _began(facts: Facts, *, judge: str, instrument: Mapping[str, str], now: float) -> Facts:
    if facts.is_finished:
        return facts
    if facts.judge and (said := differences(facts.instrument, instrument)):
        detail = (
            f"the job began with {facts.judge}, and the judge is now {judge}: another {said};"
            " send the rest again"
        )
        return _failed(facts, detail=detail, now=now)
    return _running(replace(facts, judge=judge, instrument=instrument), now)


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
    if facts.is_finished:  # cancelled in the meantime
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
