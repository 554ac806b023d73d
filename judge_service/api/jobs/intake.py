"""Receives a job: checks its rows and writes them to disk before the caller gets the reply."""

import time
from collections.abc import Sequence
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from judge_service.api.access import Caller
from judge_service.api.errors import HttpError
from judge_service.api.jobs.job_file import Facts, JobFile
from judge_service.api.jobs.store import KEPT_FOR_ONE, JobCounts, JobLock, JobStore
from judge_service.api.json_response import encode
from judge_service.errors import WireError
from judge_service.wire import decode_row, read_json
from judge_service.wire.native import decode_native

MAX_ROW_BYTES = 1_000_000
"""Longest line. A few hundred rows are in memory at once, and judges read much less."""

COME_BACK_S = 60
"""Retry-After if there are too many jobs, seconds; jobs take minutes to hours."""


class Bounds(Struct, frozen=True, kw_only=True):
    """max_jobs: most unfinished jobs of all callers. max_samples: most samples of one job."""

    max_jobs: int
    max_samples: int


class Intake:
    """A job that is being received. Its methods block: call them on the jobs' thread, `close` as the last."""

    def __init__(self, store: JobStore, caller: Caller, bounds: Bounds, *, reasons: bool) -> None:
        self._store = store
        self._caller = caller
        self._bounds = bounds
        self._facts = Facts(
            id=store.new_id(), tenant=caller.tenant, reasons=reasons, created_at=time.time()
        )
        self._lock: JobLock | None = None
        self._job: JobFile | None = None
        self._rest = b""
        self._total = 0
        self._is_accepted = False

    def __repr__(self) -> str:
        return f"<Intake {self._facts.id}, {self._total} rows>"

    def open(self) -> None:
        """Creates the file. Raises HttpError 429 or 503 if there are too many jobs; JobFileError."""
        with self._store.exclusive():
            refuse_excess(self._store.counts(self._caller.tenant), self._caller, self._bounds)
            self._lock = self._store.take(self._facts.id)
            self._job = self._store.open(self._facts.id, create=self._facts)

    def feed(self, piece: bytes) -> None:
        """Adds the next piece of a body of lines. Raises WireError that names the line; HttpError 413."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        self._add_lines(lines)
        if len(self._rest) > MAX_ROW_BYTES:
            _refuse_length(self._total)

    def read(self, body: bytes) -> None:
        """Adds a body in the form of `POST /v1/rewards`. Raises WireError; HttpError 413."""
        event = read_json(body, max_bytes=len(body))
        batch = decode_native(event)
        self._facts = replace(self._facts, reasons=batch.reasons)
        self._add([encode(row) for row in event["samples"]])

    def accept(self) -> Facts:
        """Accepts the job. When it returns, the job survives a crash. Raises WireError without rows."""
        self._add_lines([self._rest])
        if self._total == 0:
            raise WireError("$", "has no samples; send at least one")
        reasons = self._facts.reasons
        facts = self._file.change(
            lambda now: replace(now, state="queued", total=self._total, reasons=reasons)
        )
        self._store.sync()
        self._is_accepted = True
        return facts

    def close(self) -> None:
        """Releases the job's lock, and deletes the job unless it was accepted."""
        if self._job is not None:
            self._job.close()
        if self._lock is not None:
            if not self._is_accepted:
                self._store.remove(self._facts.id)
            self._lock.release()

    @property
    def _file(self) -> JobFile:
        assert self._job is not None  # noqa: S101 - `open` comes first
        return self._job

    def _add_lines(self, lines: Sequence[bytes]) -> None:
        rows = [row for line in lines if (row := line.strip())]
        for position, row in enumerate(rows, self._total):
            path = f"row {position}"
            decode_row(_value(row, path), path)
        self._add(rows)

    def _add(self, rows: Sequence[bytes]) -> None:
        if self._total + len(rows) > self._bounds.max_samples:
            raise HttpError(
                413,
                "body_too_large",
                f"the job has more than {self._bounds.max_samples:,} samples; send several jobs",
            )
        for position, row in enumerate(rows, self._total):
            if len(row) > MAX_ROW_BYTES:
                _refuse_length(position)
        self._file.add_rows(self._total, rows)
        self._total += len(rows)


def _value(row: bytes, path: str) -> object:
    try:
        return read_json(row, max_bytes=len(row))
    except WireError as problem:
        raise WireError(path, str(problem).removeprefix("$: ")) from None


def _refuse_length(position: int) -> NoReturn:
    raise HttpError(413, "body_too_large", f"row {position} is longer than {MAX_ROW_BYTES:,} bytes")


def refuse_excess(seen: JobCounts, caller: Caller, bounds: Bounds, *, is_new: bool = True) -> None:
    """Raises HttpError 429 or 503 if there are too many unfinished jobs, or with `is_new` too many in all."""
    theirs = max(1, int(caller.share * bounds.max_jobs))
    if caller.share < 1 and seen.unfinished_of_tenant >= theirs:
        raise _refusal(429, "over_share", f"this caller has {theirs} unfinished jobs already")
    if is_new and caller.share < 1 and seen.kept_of_tenant >= KEPT_FOR_ONE * theirs:
        raise _refusal(429, "over_share", "this caller has too many jobs; delete finished ones")
    if seen.unfinished >= bounds.max_jobs:
        raise _refusal(503, "overloaded", f"there are {bounds.max_jobs} unfinished jobs already")
    if is_new and seen.kept >= KEPT_FOR_ONE * bounds.max_jobs:
        raise _refusal(503, "overloaded", "there are too many jobs; delete finished ones")


def _refusal(status: int, code: str, message: str) -> HttpError:
    return HttpError(
        status, code, f"{message}; try again in {COME_BACK_S} s", retry_after_s=COME_BACK_S
    )
