"""The job store: a directory of jobs. It finds waiting jobs, locks jobs, and deletes old ones.

A job has two files, `<id>.sqlite` and `<id>.lock`. The worker that receives or runs a job locks
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
"""Ratio of all jobs in the directory to the most unfinished ones; it bounds the directory."""

_ID = re.compile(r"[0-9a-f]{32}")
_SUFFIXES = (".sqlite-wal", ".sqlite-shm", ".sqlite", ".lock")
_INTAKE_LOCK = "intake.lock"


class JobCounts(Struct, frozen=True):
    """The numbers of jobs, and of those of one tenant."""

    unfinished: int
    kept: int
    unfinished_of_tenant: int
    kept_of_tenant: int


class JobLock:
    """The lock of one job, until `release` or the death of the process. Made by `JobStore.take`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Unlocks the job, so that another worker may take it."""
        os.close(self._descriptor)


class JobStore:
    """All jobs of a service; its workers share the directory. Methods block: call them on one thread.

    directory: created if it does not exist.
    kept_s: a finished job is deleted after this time, seconds.

    Raises SettingsError if the directory cannot be created or written.
    """

    def __init__(self, directory: Path, *, kept_s: float) -> None:
        self._directory = directory
        self._kept_s = kept_s
        self._finished: dict[str, tuple[int, Facts]] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise SettingsError(
                f"`service.jobs_dir`: {directory} cannot be created ({problem.strerror})"
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise SettingsError(f"`service.jobs_dir`: {directory} cannot be written")

    def __repr__(self) -> str:
        return f"<JobStore {self._directory.name}, {len(self._finished)} finished>"

    def new_id(self) -> str:
        """An id that cannot be guessed."""
        return secrets.token_hex(16)

    def open(self, job_id: str, *, create: Facts | None = None) -> JobFile:
        """Opens a job. Raises FileNotFoundError if no job has this id, JobFileError."""
        if _ID.fullmatch(job_id) is None:  # it comes from a URL and becomes a file's name
            raise FileNotFoundError(job_id)
        return JobFile(self._directory / f"{job_id}.sqlite", create=create)

    def facts(self, job_id: str) -> Facts:
        """The state of a job. Raises FileNotFoundError, JobFileError."""
        with self.open(job_id) as job:
            return job.facts()

    def waiting(self) -> list[Facts]:
        """The unfinished jobs, the oldest first."""
        found = [facts for facts in self._unfinished() if facts.state != "receiving"]
        return sorted(found, key=lambda facts: facts.created_at)

    def counts(self, tenant: str) -> JobCounts:
        """The numbers of jobs, with those of one tenant."""
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
        """Runs the block in one worker at a time, so that workers count jobs and create one in turn."""
        descriptor = os.open(self._directory / _INTAKE_LOCK, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def take(self, job_id: str) -> JobLock | None:
        """Locks a job. Returns the lock, or `None` if another worker has it."""
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
            if lock is not None:  # no worker receives or runs it
                if self._is_over(job_id, now):  # checked again, since it may have been accepted
                    self.remove(job_id)
                lock.release()

    def _is_over(self, job_id: str, now: float) -> bool:
        """Whether a locked job can be deleted."""
        try:
            facts = self.facts(job_id)
        except (NotWhole, FileNotFoundError):  # another worker may have deleted it before the lock
            return True
        except JobFileError:
            return False
        is_old = facts.is_finished and facts.finished_at + self._kept_s <= now
        return facts.state == "receiving" or is_old

    def remove(self, job_id: str) -> None:
        """Deletes a job's files. The caller must have its lock."""
        for suffix in _SUFFIXES:
            (self._directory / f"{job_id}{suffix}").unlink(missing_ok=True)
        self._finished.pop(job_id, None)

    def sync(self) -> None:
        """Syncs the directory, so that new files survive a loss of power."""
        descriptor = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def touch(self, job_id: str) -> None:
        """Tells all workers that a finished job is unfinished again."""
        now_ns = time.time_ns()
        os.utime(self._directory / f"{job_id}.sqlite", ns=(now_ns, now_ns))

    def _changed_ns(self) -> dict[str, int]:
        """The time of the last change of each job's file, nanoseconds since 1970."""
        found = {}
        for path in self._directory.glob("*.sqlite"):
            with suppress(FileNotFoundError):  # deleted in the meantime
                if _ID.fullmatch(path.stem):
                    found[path.stem] = path.stat().st_mtime_ns
        return found

    def _unfinished(self) -> list[Facts]:
        """The unfinished jobs; reads only files that have changed since their job was seen finished."""
        changed_ns = self._changed_ns()
        self._finished = {
            one: seen for one, seen in self._finished.items() if changed_ns.get(one) == seen[0]
        }
        found = []
        for job_id in changed_ns.keys() - self._finished.keys():
            with suppress(
                FileNotFoundError, JobFileError
            ):  # an unreadable job does not affect the others
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
