"""One job on disk: its rows as they were sent, its results, and how far it is.

One SQLite file a job, WAL with `synchronous=FULL`: what is committed survives kill -9 and loss of
power, other workers may read while one writes, and forgetting a job is deleting its file. All
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
"""How long one worker waits for another's commit, which takes milliseconds."""

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
    """A job's file cannot be read or written; what was committed is kept."""


class NotWhole(JobFileError):
    """Whoever received the job died before it had written the first thing."""


class Facts(Struct, frozen=True, kw_only=True):
    """What is known of a job.

    reasons: each reward is wanted with its explanations.
    tenant: whose it is; nobody else may see it.
    total: rows in it. done: rows with a result, of which `unscored` have no score, by reason.
    created_at, started_at, finished_at: seconds since 1970, 0 when that has not happened.
    done_before: rows done when its present run began, for the rate.
    judge: what judges it; a run under another judge would mix two measuring instruments.
    reason, until: while it waits for the judge, why (a word of `values.UNSCORED_REASONS`), and when the
        judge is asked again, seconds since 1970.
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
    reason: str = ""
    until: float = 0.0
    detail: str = ""

    @property
    def is_finished(self) -> bool:
        return self.state in FINISHED


class Result(Struct, frozen=True):
    """One finished row. reason: why it has no score, `None` when it has one. line: what a caller gets."""

    position: int
    reason: str | None
    line: bytes


class JobFile:
    """An open job. Belongs to one thread at a time; several may be open on the same file."""

    def __init__(self, path: Path, *, create: Facts | None = None) -> None:
        """Opens the file, or makes a new one that says `create`.

        Raises FileNotFoundError if there is none, JobFileError if it cannot be used.
        """
        self.path = path
        self._decoder = msgspec.json.Decoder(Facts)
        with self._one_sentence():
            if create is not None:
                path.touch(mode=0o600, exist_ok=False)  # SQLite's own files beside it get the same
            elif not path.exists():
                raise FileNotFoundError(path)
            self._database = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=rw",
                uri=True,
                timeout=WAIT_S,
                isolation_level=None,
                check_same_thread=False,  # the jobs' thread makes it, another may close it
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
        """Ends the connection; the job stays."""
        self._database.close()

    def facts(self) -> Facts:
        """How far it is now. Raises NotWhole, JobFileError."""
        with self._one_sentence():
            if self._database.execute(_IS_WHOLE).fetchone() is None:
                raise NotWhole(f"job {self.path.stem}: its file is not whole; send the job again")
            (facts,) = self._database.execute("SELECT facts FROM facts").fetchone()
        return self._decoder.decode(facts)

    def change(self, changed: Callable[[Facts], Facts]) -> Facts:
        """Replaces the facts by `changed(facts)` in one transaction, and returns them."""
        with self._transaction():
            return self._write(changed(self.facts()))

    def add_rows(self, first: int, rows: Sequence[bytes]) -> None:
        """Takes in rows as they arrive; `first` is the position of the first of them."""
        with self._transaction():
            self._database.executemany("INSERT INTO rows VALUES (?, ?)", enumerate(rows, first))

    def commit(self, results: Sequence[Result]) -> Facts:
        """Writes results and counts them; when it returns they survive a crash.

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
        """Drops results without a score, so that their rows are judged again.

        changed: what the facts become in the same transaction, after these rows were taken off them.
        """
        with self._transaction():
            facts = self.facts()
            forgotten = self._database.execute(_FORGET_UNSCORED).rowcount
            return self._write(changed(replace(facts, done=facts.done - forgotten, unscored={})))

    def undone(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` rows behind position `after` that have no result, in order."""
        with self._one_sentence():
            return self._database.execute(_UNDONE, (after, limit)).fetchall()

    def results(self, after: int, limit: int) -> list[tuple[int, bytes]]:
        """At most `limit` results behind position `after`, in order."""
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
                if self._database.in_transaction:  # a full disk may have rolled back by itself
                    self._database.execute("ROLLBACK")
                raise

    @contextmanager
    def _one_sentence(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise
        except (sqlite3.Error, OSError) as problem:
            raise JobFileError(
                f"job {self.path.stem}: its file cannot be used ({problem});"
                " look at the disk of `service.jobs_dir`"
            ) from None
