"""The file of one job: its rows as sent, its results, and its state.

Each job has one SQLite file in WAL mode with `synchronous=FULL`: committed data survives kill -9 and loss
of power, other workers can read while one writes, and deleting the file deletes the job. All
methods block: call them on a thread.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Self

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import JudgeServiceError

State = Literal["receiving", "queued", "running", "waiting", "done", "cancelled", "failed"]
FINISHED = frozenset({"done", "cancelled", "failed"})

WAIT_S = 10.0
"""How long a worker waits for the commit of another, seconds; a commit takes milliseconds."""

_SCHEMA = """
CREATE TABLE facts (facts BLOB NOT NULL);
CREATE TABLE rows (position INTEGER PRIMARY KEY, row BLOB NOT NULL);
CREATE TABLE results (position INTEGER PRIMARY KEY, line BLOB NOT NULL);
"""
_IS_WHOLE = "SELECT 1 FROM sqlite_master WHERE name = 'facts'"
_UNDONE = (
    "SELECT rows.position, row FROM rows LEFT JOIN results USING (position)"
    " WHERE results.position IS NULL AND rows.position > ? ORDER BY rows.position LIMIT ?"
)
_FORGET_UNSCORED = "DELETE FROM results WHERE json_extract(CAST(line AS TEXT), '$.score') IS NULL"
_RESULTS = "SELECT position, line FROM results WHERE position > ? ORDER BY position LIMIT ?"


class JobFileError(JudgeServiceError):
    """A job's file cannot be read or written; committed data is kept."""


class NotWhole(JobFileError):
    """The file is incomplete: the worker that received the job died before its first commit."""


class Damaged(JobFileError):
    """The file cannot be understood: it is damaged, or a later version wrote it. Waiting does not help."""


_DAMAGED_CODES = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


class Facts(Struct, frozen=True, kw_only=True):
    """The state of a job.

    reasons: whether rewards are returned with explanations.
    tenant: the owner; no other tenant may see the job.
    total: number of rows. done: rows with a result; `unscored` of them have no score, by reason.
    created_at, started_at, finished_at: seconds since 1970, 0 if it has not happened.
    done_before: rows done before the present run, for the rate.
    judge: the judge's name for people. instrument: everything about the judge that can change a result, by
        the name of the setting. A run with another instrument would mix scores that cannot be compared.
    reason, until: while it waits for the judge, the reason (a word of `values.UNSCORED_REASONS`), and the
        time of the next probe, seconds since 1970.
    detail: why it failed, or waits.
    """

    id: str
    tenant: str
    reasons: bool = False
    state: State = "receiving"
    total: int = 0
    done: int = 0
    unscored: Mapping[str, int] = {}
    created_at: float = 0.0
    started_at: float = 0.0
    finished_at: float = 0.0
    done_before: int = 0
    judge: str = ""
    instrument: Mapping[str, str] = {}
    reason: str = ""
    until: float = 0.0
    detail: str = ""

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


class Result(Struct, frozen=True):
    """One finished row. reason: why it has no score, `None` with a score. line: the JSON line for callers."""

    position: int
    reason: str | None
    line: bytes


class JobFile:
    """An open job. Belongs to one thread at a time; several may be open on the same file."""

    def __init__(self, path: Path, *, create: Facts | None = None) -> None:
        """Opens the file, or creates one with the facts `create`.

        Raises FileNotFoundError if it does not exist, JobFileError if it cannot be used.
        """
        self.path = path
        self._decoder = msgspec.json.Decoder(Facts)
        with self._one_sentence():
            if create is not None:
                path.touch(mode=0o600, exist_ok=False)  # SQLite's further files get the same mode
            elif not path.exists():
                raise FileNotFoundError(path)
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=WAIT_S,
                isolation_level=None,
                check_same_thread=False,  # opened on the jobs' thread, perhaps closed on another
            )
        try:
            self._prepare(create)
        except BaseException:
            self._database.close()
            raise

    def _prepare(self, create: Facts | None) -> None:
        with self._one_sentence():
            self._database.execute("PRAGMA synchronous=FULL")
            if create is None:
                return
            self._database.execute("PRAGMA journal_mode=WAL")
        with self._transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._database.execute(statement)
            self._database.execute("INSERT INTO facts VALUES (?)", (msgspec.json.encode(create),))

    def __repr__(self) -> str:
        return f"<JobFile {self.path.stem}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection; the job is kept."""
        self._database.close()

    def facts(self) -> Facts:
        """The present state. Raises NotWhole, Damaged, JobFileError."""
        with self._one_sentence():
            if self._database.execute(_IS_WHOLE).fetchone() is None:
                raise NotWhole(f"job {self.path.stem}: its file is not whole; send the job again")
            found = self._database.execute("SELECT facts FROM facts").fetchone()
        try:
            return self._decoder.decode(found[0])
        except (msgspec.MsgspecError, UnicodeDecodeError, TypeError) as problem:
            raise self._damaged(problem) from None

    def change(self, changed: Callable[[Facts], Facts]) -> Facts:
        """Replaces the facts by `changed(facts)` in one transaction, and returns them."""
        with self._transaction():
            return self._write(changed(self.facts()))

    def add_rows(self, first: int, rows: Sequence[bytes]) -> None:
        """Takes in rows as they arrive; `first` is the position of the first of them."""
        with self._transaction():
            self._database.executemany("INSERT INTO rows VALUES (?, ?)", enumerate(rows, first))

    def commit(self, results: Sequence[Result]) -> Facts:
        """Writes results and counts them. When it returns, they survive a crash.

        A row that has a result keeps it.
        """
        with self._transaction():
            facts = self.facts()
            unscored = dict(facts.unscored)
            done = facts.done
            for result in results:
                if self._insert(result):
                    done += 1
                    if result.reason is not None:
                        unscored[result.reason] = unscored.get(result.reason, 0) + 1
            return self._write(replace(facts, done=done, unscored=unscored))

    def forget_unscored(self, changed: Callable[[Facts], Facts]) -> Facts:
        """Deletes results without a score, so that their rows are judged again.

        changed: changes the facts in the same transaction, after these rows are subtracted from them.
        """
        with self._transaction():
            facts = self.facts()
            forgotten = self._database.execute(_FORGET_UNSCORED).rowcount
            return self._write(changed(replace(facts, done=facts.done - forgotten, unscored={})))

    def undone(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` rows without a result after position `after`, in order."""
        with self._one_sentence():
            return self._database.execute(_UNDONE, (after, limit)).fetchall()

    def results(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` results after position `after`, in order."""
        with self._one_sentence():
            return self._database.execute(_RESULTS, (after, limit)).fetchall()

    def _insert(self, result: Result) -> bool:
        inserted = self._database.execute(
            "INSERT OR IGNORE INTO results VALUES (?, ?)", (result.position, result.line)
        )
        return inserted.rowcount == 1

    def _write(self, facts: Facts) -> Facts:
        self._database.execute("UPDATE facts SET facts = ?", (msgspec.json.encode(facts),))
        return facts

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._one_sentence():
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._database.execute("COMMIT")
            except BaseException:
                if self._database.in_transaction:  # after a full disk SQLite may have rolled back
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (sqlite3.Error, OSError) as problem:
            if getattr(problem, "sqlite_errorcode", 0) & 0xFF in _DAMAGED_CODES:
                raise self._damaged(problem) from None
            raise JobFileError(
                f"job {self.path.stem}: its file cannot be used ({problem});"
                " check the disk of `service.jobs_dir`"
            ) from None

    def _damaged(self, problem: Exception) -> Damaged:
        return Damaged(
            f"job {self.path.stem}: its file is damaged, or of a later version ({problem}); start that one,"
            " or move the file out of `service.jobs_dir` and send the job again"
        )
