"""The job service, which the routes call: takes jobs in, looks them up, reads results, cancels.

Nothing here blocks the event loop.
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
from judge_service.api.jobs.job_file import Facts, JobFileError
from judge_service.api.jobs.scheduler import JobScheduler
from judge_service.api.jobs.store import JobStore
from judge_service.service import JudgeService

P = ParamSpec("P")
T = TypeVar("T")

LOG = logging.getLogger("judge_service.api")

MAX_WATCHERS = 200
"""Event streams of one worker; each looks at the disk once a second."""

LINES_AT_ONCE = 500
"""Results read from the disk together."""


class JobService:
    """The jobs of one worker. Made by `open_job_service`.

    drained: called with the number of samples that were judged.
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
        # one thread, so that what is begun on a job ends before it is let go, also after a cancellation
        self._thread = ThreadPoolExecutor(1, "jobs")
        self._scheduler = JobScheduler(judge, store, self._offload, drained)

    def __repr__(self) -> str:
        return f"<JobService {self._store!r} {self._scheduler!r}>"

    @property
    def is_stopping(self) -> bool:
        """Jobs wait for the next start."""
        return self._until is not None

    def start(self) -> None:
        """Begins to work on jobs, those of an earlier process first."""
        self._scheduler.start()

    def stop(self) -> None:
        """Begins no more rows; those at work have `service.drain_s` from now."""
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self._drain_s
            self._scheduler.stop()

    async def aclose(self) -> None:
        """Ends; unfinished jobs wait on the disk for the next start."""
        self.stop()
        assert self._until is not None  # noqa: S101 - `stop` has set it
        await self._scheduler.aclose(self._until)
        await asyncio.to_thread(self._thread.shutdown)

    async def take(
        self, caller: Caller, pieces: AsyncIterable[bytes], *, is_lines: bool, reasons: bool
    ) -> Facts:
        """Takes a job in; when this returns it survives a crash, and if it raises there is no job.

        pieces: of the body. is_lines: a row a line; otherwise one piece, as `POST /v1/rewards` takes it.
        reasons: for lines; a body that is one piece says it itself.

        Raises HttpError 413, 429 or 503; WireError; what `pieces` raises.
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
        """How far a job is. Raises HttpError 404 if this tenant has none of that id; 503."""
        try:
            facts = await self._ask(self._store.facts, job_id)
        except FileNotFoundError:
            raise _no_such_job() from None
        if facts.tenant != tenant or facts.state == "receiving":
            raise _no_such_job()
        return facts

    async def end(self, job_id: str, tenant: str) -> Facts:
        """Cancels a job that is not finished; its results stay. Forgets one that is."""
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
        """Has the rows of an ended job judged that have no score; they lose the result they have.

        Raises HttpError 404; 409 if the job has not ended; 429 or 503 if there may be no more jobs at work.
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
                "too many callers watch jobs; ask for `/v1/jobs/{id}` now and then",
                retry_after_s=COME_BACK_S,
            )
        self._watchers += 1
        try:
            yield
        finally:
            self._watchers -= 1

    async def results(self, job_id: str, after: int, limit: int) -> AsyncGenerator[bytes]:
        """Lines of results behind index `after`, at most `limit`, several at once."""
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
        """Keeps workers off a job that has ended. Raises HttpError 503 while one has it still."""
        lock = self._store.take(job_id)
        if lock is None:
            raise HttpError(
                503, "overloaded", "the job is just ending; try again in 1 s", retry_after_s=1
            )
        try:
            yield
        finally:
            lock.release()

    async def _offload(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Runs what blocks on the jobs' thread; it runs to its end even if its caller is cancelled."""
        return await asyncio.shield(
            asyncio.wrap_future(self._thread.submit(partial(work, *args, **kwargs)))
        )

    async def _ask(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a caller, who hears of a failing disk."""
        try:
            return await self._offload(work, *args, **kwargs)
        except FileNotFoundError:
            raise
        except OSError as problem:
            raise _disk_fails(f"the jobs' disk fails ({problem.strerror})") from problem
        except JobFileError as problem:
            raise _disk_fails(str(problem)) from problem


@asynccontextmanager
async def open_job_service(
    judge: JudgeService, drained: Callable[[int], None]
) -> AsyncIterator[JobService | None]:
    """Opens the jobs' directory and begins to work; `None` when `service.jobs_dir` is not set.

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
    return HttpError(404, "not_found", "there is no such job; it may have been forgotten")
