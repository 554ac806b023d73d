"""The directory of jobs: who holds which, what is still to do, what is forgotten when.

A job is `<id>.sqlite` and `<id>.lock`. Whoever works on a job, or receives it, holds a lock on the
latter, which the kernel gives up when that process dies: so each job has one worker at a time, and a
dead worker's jobs are free. The disk must be local: neither this lock nor WAL is safe over NFS.
"""

import fcntl
import os
import re
import secrets
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
_DOOR = "intake.lock"


class Census(Struct, frozen=True):
    """How many jobs there are, and how many of them one tenant has."""

    unfinished: int
    kept: int
    unfinished_of_tenant: int
    kept_of_tenant: int


class Hold:
    """A lock that is held until `release`, or until the process dies. By `Shelf.take` only."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Somebody else may have it now."""
        os.close(self._descriptor)


class Shelf:
    """All jobs of a service; its workers share the directory. Methods block: call them on one thread.

    directory: made if it is not there.
    kept_s: a finished job is forgotten so many seconds after its end.

    Raises SettingsError if the directory cannot be made or written.
    """

    def __init__(self, directory: Path, *, kept_s: float) -> None:
        self._directory = directory
        self._kept_s = kept_s
        self._finished: dict[str, Facts] = {}
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as problem:
            raise SettingsError(
                f"`service.jobs_dir`: {directory} cannot be made ({problem.strerror})"
            ) from None
        if not os.access(directory, os.W_OK | os.X_OK):
            raise SettingsError(f"`service.jobs_dir`: {directory} cannot be written")

    def __repr__(self) -> str:
        return f"<Shelf {self._directory.name}, {len(self._finished)} finished>"

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

    def census(self, tenant: str) -> Census:
        """How many jobs there are."""
        unfinished = self._unfinished()
        theirs = sum(facts.tenant == tenant for facts in unfinished)
        return Census(
            unfinished=len(unfinished),
            kept=len(unfinished) + len(self._finished),
            unfinished_of_tenant=theirs,
            kept_of_tenant=theirs + sum(f.tenant == tenant for f in self._finished.values()),
        )

    @contextmanager
    def door(self) -> Iterator[None]:
        """While the block runs no other worker is in one: they count and create one after the other."""
        descriptor = os.open(self._directory / _DOOR, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def take(self, job_id: str) -> Hold | None:
        """The right to work on a job, `None` when somebody else has it."""
        descriptor = os.open(self._directory / f"{job_id}.lock", os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return Hold(descriptor)

    def sweep(self, now: float) -> None:
        """Forgets what finished too long ago, and what was never received whole.

        now: seconds since 1970.
        """
        torsos = [facts.id for facts in self._unfinished() if facts.state == "receiving"]
        old = [f.id for f in self._finished.values() if f.finished_at + self._kept_s <= now]
        for job_id in [*torsos, *old, *self._not_whole()]:
            hold = self.take(job_id)
            if hold is not None:  # nobody receives it, nobody works on it
                if self._is_over(job_id, now):  # it may have been accepted since it was looked at
                    self.remove(job_id)
                hold.release()

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

    def _ids(self) -> set[str]:
        return {path.stem for path in self._directory.glob("*.sqlite") if _ID.fullmatch(path.stem)}

    def _unfinished(self) -> list[Facts]:
        """Reads the jobs that were not finished when they were last looked at."""
        ids = self._ids()
        self._finished = {one: facts for one, facts in self._finished.items() if one in ids}
        found = []
        for job_id in ids - self._finished.keys():
            with suppress(
                FileNotFoundError, JobFileError
            ):  # one that cannot be read harms no other
                facts = self.facts(job_id)
                if facts.is_finished:
                    self._finished[job_id] = facts
                else:
                    found.append(facts)
        return found

    def _not_whole(self) -> list[str]:
        found = []
        for job_id in self._ids() - self._finished.keys():
            try:
                self.facts(job_id)
            except NotWhole:
                found.append(job_id)
            except (FileNotFoundError, JobFileError):
                continue
        return found
