"""The job service that the routes call: accepts jobs, looks them up, reads results, cancels jobs.

Its methods do not block the event loop.
"""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import ParamSpec, TypeVar

from msgspec.structs import replace

from judge_service.api.access import Caller
from judge_service.api.errors import HttpError
from judge_service.api.jobs.intake import COME_BACK_S, Bounds, Intake, refuse_excess
from judge_service.api.jobs.job_file import Damaged, Facts, JobFileError
from judge_service.api.jobs.scheduler import JobScheduler
from judge_service.api.jobs.store import JobStore
from judge_service.service import JudgeService

P = ParamSpec("P")
T = TypeVar("T")

LOG = logging.getLogger("judge_service.api")

MAX_WATCHERS = 200
"""Most event streams of one worker; each reads the disk once a second."""

LINES_AT_ONCE = 500
"""Results read from the disk at once."""


class JobService:
    """The jobs of one worker. Made by `open_job_service`.

    drained: called with the number of judged samples.
    """

    def __init__(
        self, judge: JudgeService, store: JobStore, drained: Callable[[int], None]
    ) -> None:
        service = judge.settings.service
        self._store = store
        self._bounds = Bounds(max_jobs=service.max_jobs, max_samples=service.max_job_samples)
        self._drain_s = service.drain_s
        self._until: float | None = None
        self._watchers = 0
        # one thread, so that an operation on a job ends before its lock is released, also when cancelled
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._scheduler = JobScheduler(judge, store, self._offload, drained)

    def __repr__(self) -> str:
        return f"<JobService {self._store!r} {self._scheduler!r}>"

    @property
    def is_stopping(self) -> bool:
        """Whether the service is stopping; jobs then wait for the next start."""
        return self._until is not None

    def start(self) -> None:
        """Starts to work on jobs, first on those of an earlier process."""
        self._scheduler.start()

    def stop(self) -> None:
        """Starts no more rows; rows in work have `service.drain_s` from now."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._drain_s
            self._scheduler.stop()

    async def aclose(self) -> None:
        """Ends the service; unfinished jobs wait on disk for the next start."""
        self.stop()
        assert self._until is not None  # noqa: S101 - `stop` has set it
        await self._scheduler.aclose(self._until)
        await asyncio.to_thread(self._thread.shutdown)

    async def take(
        self, caller: Caller, pieces: AsyncIterable[bytes], *, is_lines: bool, reasons: bool
    ) -> Facts:
        """Accepts a job. When it returns, the job survives a crash; if it raises, there is no job.

        pieces: of the body. is_lines: whether it has a row a line; otherwise it is one body of
            `POST /v1/rewards`.
        reasons: whether rewards have explanations, for lines; any other body says so itself.

        Raises HttpError 413, 429 or 503; WireError; any error of `pieces`.
        """
        intake = Intake(self._store, caller, self._bounds, reasons=reasons)
        try:
            await self._ask(intake.open)
            async for piece in pieces:
                await self._ask(intake.feed if is_lines else intake.read, piece)
            return await self._ask(intake.accept)
        finally:
            await self._offload(intake.close)
            self._scheduler.wake()

    async def facts(self, job_id: str, tenant: str) -> Facts:
        """The state of a job. Raises HttpError 404 if this tenant has no job with this id; 503."""
        try:
            facts = await self._ask(self._store.facts, job_id)
        except FileNotFoundError:
            raise _no_such_job() from None
        if facts.tenant != tenant or facts.state == "receiving":
            raise _no_such_job()
        return facts

    async def end(self, job_id: str, tenant: str) -> Facts:
        """Cancels an unfinished job, whose results are kept, or deletes a finished one."""
        facts = await self.facts(job_id, tenant)
        if facts.is_finished:
            await self._ask(self._forget, job_id)
            return facts
        try:
            facts = await self._ask(self._cancel, job_id)
        except FileNotFoundError:
            raise _no_such_job() from None
        self._scheduler.wake()
        return facts

    async def retry(self, job_id: str, caller: Caller) -> Facts:
        """Judges the rows of an ended job again that have no score; their results are deleted.

        Raises HttpError 404; 409 if the job has not ended; 429 or 503 if there are too many unfinished jobs.
        """
        facts = await self.facts(job_id, caller.tenant)
        if not facts.is_finished:
            raise HttpError(
                409,
                "not_ended",
                f"the job is {facts.state}; only one that has ended can be retried",
            )
        try:
            facts = await self._ask(self._put_back, job_id, caller)
        except FileNotFoundError:
            raise _no_such_job() from None
        self._scheduler.wake()
        return facts

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Counts an event stream. Raises HttpError 503 if there are too many."""
        if self._watchers >= MAX_WATCHERS:
            raise HttpError(
                503,
                "overloaded",
                "too many event streams of jobs; poll `/v1/jobs/{id}` instead",
                retry_after_s=COME_BACK_S,
            )
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def results(self, job_id: str, after: int, limit: int) -> AsyncGenerator[bytes]:
        """Lines of results after index `after`, at most `limit`, several in each piece."""
        while limit > 0:
            found = await self._ask(self._read, job_id, after, min(limit, LINES_AT_ONCE))
            if not found:
                return
            yield b"\n".join([line for _, line in found])
            after = found[-1][0]
            limit -= len(found)

    def _read(self, job_id: str, after: int, limit: int) -> list[tuple[int, bytes]]:
        with self._store.open(job_id) as job:
            return job.results(after, limit)

    def _cancel(self, job_id: str) -> Facts:
        with self._store.open(job_id) as job:
            return job.change(partial(_cancelled, now=time.time()))

    def _forget(self, job_id: str) -> None:
        with self._held(job_id):
            self._store.remove(job_id)

    def _put_back(self, job_id: str, caller: Caller) -> Facts:
        with self._store.exclusive(), self._held(job_id), self._store.open(job_id) as job:
            refuse_excess(self._store.counts(caller.tenant), caller, self._bounds, is_new=False)
            facts = job.forget_unscored(_put_back)
            self._store.touch(job_id)
        return facts

    @contextmanager
    def _held(self, job_id: str) -> Iterator[None]:
        """Locks an ended job. Raises HttpError 503 while a worker still has the lock."""
        lock = self._store.take(job_id)
        if lock is None:
            raise HttpError(
                503, "overloaded", "the job is about to end; try again in 1 s", retry_after_s=1
            )
        try:
            yield
        finally:
            lock.release()

    async def _offload(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs a blocking function on the jobs' thread, to its end even if the caller is cancelled."""
        return await asyncio.shield(
            asyncio.wrap_future(self._thread.submit(partial(work, *args, **kwargs)))
        )

    async def _ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same, and converts a disk error to an HttpError for the caller."""
        try:
            return await self._offload(work, *args, **kwargs)
        except FileNotFoundError:
            raise
        except OSError as problem:
            raise _disk_fails(f"the disk of the jobs fails ({problem.strerror})") from problem
        except Damaged as problem:  # another try would not help
            LOG.error("%s", problem)  # noqa: TRY400 - the sentence is enough
            raise HttpError(500, "internal", str(problem)) from problem
        except JobFileError as problem:
            raise _disk_fails(str(problem)) from problem


@asynccontextmanager
async def open_job_service(
    judge: JudgeService, drained: Callable[[int], None]
) -> AsyncIterator[JobService | None]:
    """Opens the jobs' directory and starts the service; `None` when `service.jobs_dir` is not set.

    Raises SettingsError if the directory cannot be used.
    """
    service = judge.settings.service
    if not service.jobs_dir:
        yield None
        return
    opened = partial(JobStore, Path(service.jobs_dir), kept_s=service.jobs_kept_s)
    jobs = JobService(judge, await asyncio.to_thread(opened), drained)
    jobs.start()
    try:
        yield jobs
    finally:
        await jobs.aclose()


def _cancelled(facts: Facts, *, now: float) -> Facts:
    if facts.is_finished:
        return facts
    return replace(facts, state="cancelled", finished_at=now, reason="", until=0.0, detail="")


def _put_back(facts: Facts) -> Facts:
    if facts.done == facts.total:
        return facts
    return replace(facts, state="queued", finished_at=0.0, detail="")


def _disk_fails(message: str) -> HttpError:
    LOG.error("%s", message)
    return HttpError(503, "overloaded", message, retry_after_s=COME_BACK_S)


def _no_such_job() -> HttpError:
    return HttpError(404, "not_found", "there is no such job; it may have been deleted")
