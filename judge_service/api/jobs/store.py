"""The job store: a directory of jobs. It knows which are locked, waiting or finished, and deletes old ones.

A job is two files, `<id>.sqlite` and `<id>.lock`. The worker that receives or runs a job holds a lock on
the second file. The kernel releases the lock when that process dies, so each job has one worker at a time
and the jobs of a dead worker are free. The disk must be local: neither this lock nor WAL is safe over NFS.
"""

import fcntl
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from msgspec import Struct

from judge_service.api.jobs.job_file import Facts, JobFile, JobFileError, NotWhole
from judge_service.errors import SettingsError

KEPT_FOR_ONE = 10
"""Jobs that are kept, finished ones included, for each that may be unfinished: the directory is bounded."""

_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIXES = (".sqlite-wal", ".sqlite-shm", ".sqlite", ".lock")
_INTAKE_LOCK = "intake.lock"


class JobCounts(Struct, frozen=True):
    """How many jobs there are, and how many of them one tenant has."""

    unfinished: int
    kept: int
    unfinished_of_tenant: int
    kept_of_tenant: int


class JobLock:
    """The lock of one job, held until `release` or until the process dies. Made by `JobStore.take`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Unlocks the job, so that another worker may take it."""
        os.close(self._descriptor)


class JobStore:
    """All jobs of a service; its workers share the directory. Methods block: call them on one thread.

    directory: made if it is not there.
    kept_s: a finished job is forgotten so many seconds after its end.

    Raises SettingsError if the directory cannot be made or written.
    """

    def __init__(self, directory: Path, *, kept_s: float) -> None:
        self._directory = directory
        self._kept_s = kept_s
        self._finished: dict[str, tuple[int, Facts]] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise SettingsError(
                f"`service.jobs_dir`: {directory} cannot be made ({problem.strerror})"
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise SettingsError(f"`service.jobs_dir`: {directory} cannot be written")

    def __repr__(self) -> str:
        return f"<JobStore {self._directory.name}, {len(self._finished)} finished>"

    def new_id(self) -> str:
        """An id that cannot be guessed."""
        return secrets.token_hex(16)

    def open(self, job_id: str, *, create: Facts | None = None) -> JobFile:
        """Opens a job. Raises FileNotFoundError if there is none of that id, JobFileError."""
        if _ID.fullmatch(job_id) is None:  # it comes from a URL and becomes a file's name
            raise FileNotFoundError(job_id)
        return JobFile(self._directory / f"{job_id}.sqlite", create=create)

    def facts(self, job_id: str) -> Facts:
        """How far a job is. Raises FileNotFoundError, JobFileError."""
        with self.open(job_id) as job:
            return job.facts()

    def waiting(self) -> list[Facts]:
        """The jobs that are to be worked on, the oldest first."""
        found = [facts for facts in self._unfinished() if facts.state != "receiving"]
        return sorted(found, key=lambda facts: facts.created_at)

    def counts(self, tenant: str) -> JobCounts:
        """How many jobs there are."""
        unfinished = self._unfinished()
        theirs = sum(facts.tenant == tenant for facts in unfinished)
        return JobCounts(
            unfinished=len(unfinished),
            kept=len(unfinished) + len(self._finished),
            unfinished_of_tenant=theirs,
            kept_of_tenant=theirs + sum(f.tenant == tenant for _, f in self._finished.values()),
        )

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Lets one worker at a time into the block: workers count jobs and create one in turn."""
        descriptor = os.open(self._directory / _INTAKE_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def take(self, job_id: str) -> JobLock | None:
        """The lock of a job, or `None` when another worker has it."""
        descriptor = os.open(self._directory / f"{job_id}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return JobLock(descriptor)

    def sweep(self, now: float) -> None:
        """Deletes jobs that finished more than `kept_s` ago and jobs that were not received completely.

        now: seconds since 1970.
        """
        incomplete = [facts.id for facts in self._unfinished() if facts.state == "receiving"]
        old = [f.id for _, f in self._finished.values() if f.finished_at + self._kept_s <= now]
        for job_id in [*incomplete, *old, *self._not_whole()]:
            lock = self.take(job_id)
            if lock is not None:  # nobody receives it, nobody works on it
                if self._is_over(job_id, now):  # it may have been accepted since it was looked at
                    self.remove(job_id)
                lock.release()

    def _is_over(self, job_id: str, now: float) -> bool:
        """Whether a job that is held can be forgotten."""
        try:
            facts = self.facts(job_id)
        except (NotWhole, FileNotFoundError):  # if another worker has swept it the lock is ours
            return True
        except JobFileError:
            return False
        is_old = facts.is_finished and facts.finished_at + self._kept_s <= now
        return facts.state == "receiving" or is_old

    def remove(self, job_id: str) -> None:
        """Deletes a job's files. Only for whoever holds it."""
        for suffix in _SUFFIXES:
            (self._directory / f"{job_id}{suffix}").unlink(missing_ok=True)
        self._finished.pop(job_id, None)

    def sync(self) -> None:
        """When it returns, new files survive a loss of power as well."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def touch(self, job_id: str) -> None:
        """Tells all workers that a finished job is one no more."""
        now_ns = time.time_ns()
        os.utime(self._directory / f"{job_id}.sqlite", ns=(now_ns, now_ns))

    def _changed_ns(self) -> dict[str, int]:
        """When the file of each job was changed last, nanoseconds since 1970."""
        found = {}
        for path in self._directory.glob("*.sqlite"):
            with suppress(FileNotFoundError):  # forgotten meanwhile
                if _ID.fullmatch(path.stem):
                    found[path.stem] = path.stat().st_mtime_ns
        return found

    def _unfinished(self) -> list[Facts]:
        """Reads the jobs whose files have changed since they were seen finished."""
        changed_ns = self._changed_ns()
        self._finished = {
            one: seen for one, seen in self._finished.items() if changed_ns.get(one) == seen[0]
        }
        found = []
        for job_id in changed_ns.keys() - self._finished.keys():
            with suppress(
                FileNotFoundError, JobFileError
            ):  # one that cannot be read harms no other
                facts = self.facts(job_id)
                if facts.is_finished:
                    self._finished[job_id] = changed_ns[job_id], facts
                else:
                    found.append(facts)
        return found

    def _not_whole(self) -> list[str]:
        found = []
        for job_id in self._changed_ns().keys() - self._finished.keys():
            try:
                self.facts(job_id)
            except NotWhole:
                found.append(job_id)
            except (FileNotFoundError, JobFileError):
                continue
        return found
