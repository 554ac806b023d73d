"""The journal of `judge score`: what has been judged survives a crash, and is never judged again.

One SQLite file beside the output, WAL with `synchronous=FULL`: a committed row survives kill -9 and
loss of power. FULL costs 1.4 ms a commit here, so results are committed in groups (50,000 rows/s at
100 a commit). The exclusive locking mode keeps a second run off the same output, needs no shared
memory file, and is given up by the kernel when the process dies.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from judge_service.errors import JudgeServiceError, SettingsError
from judge_service.values import Reward

FORMAT = "1"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (
    position INTEGER PRIMARY KEY,
    digest BLOB NOT NULL,
    group_key TEXT NOT NULL,
    id BLOB NOT NULL,
    score REAL,
    has_gap INTEGER NOT NULL,
    reward BLOB NOT NULL
);
"""
_INSERT = "INSERT OR REPLACE INTO results VALUES (?, ?, ?, ?, ?, ?, ?)"
_KNOWN = "SELECT position, digest FROM results WHERE position BETWEEN ? AND ?"
_ENTRIES = (
    "SELECT position, digest, group_key, id, reward FROM results"
    " WHERE position < :total ORDER BY position"
)
_SIBLINGS = (
    "SELECT position, digest, group_key, id, reward FROM results"
    " WHERE position < :total AND group_key != '' AND group_key IN"
    " (SELECT group_key FROM results WHERE position < :total AND has_gap)"
)
_GROUPS = (
    "SELECT COUNT(*), COALESCE(SUM(lowest = highest), 0) FROM"
    " (SELECT MIN(score) AS lowest, MAX(score) AS highest FROM results"
    " WHERE position < :total AND score IS NOT NULL AND group_key != ''"
    " GROUP BY group_key HAVING COUNT(*) > 1)"
)


class Entry(Struct, frozen=True):
    """One finished row.

    position: index of the row in the input, from 0.
    digest: sha256 of the row's bytes; a row that changed is judged again.
    id: the row's id as JSON.
    """

    position: int
    digest: bytes
    group_key: str
    id: bytes
    reward: Reward


class Journal:
    """The results of one output file. Its methods block: call them from one thread at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or creates the file and locks it.

        Raises SettingsError if it is in use, is no journal, or cannot be written.
        """
        self.path = path
        self._rows = 0
        self._commits = 0
        self._decoder = msgspec.json.Decoder(Reward)
        with _one_sentence(path, SettingsError):
            self._database = sqlite3.connect(
                path, timeout=0, isolation_level=None, check_same_thread=False
            )
            try:
                self._prepare()
            except BaseException:
                self._database.close()
                raise

    def _prepare(self) -> None:
        self._database.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        with self._transaction():
            for statement in filter(str.strip, _SCHEMA.split(";")):
                self._database.execute(statement)

    def __repr__(self) -> str:
        return f"Journal({self.path.name}, committed={self._rows} rows in {self._commits} groups)"

    def claim(self, meta: Mapping[str, str], *, restart: bool) -> None:
        """Ties the journal to what judges.

        meta: everything that changes answers, by the name a person knows it under.
        restart: forget what is there.

        Raises SettingsError if the journal was made with another `meta`.
        """
        wanted = {"journal format": FORMAT, **meta}
        with _one_sentence(self.path), self._transaction():
            if restart:
                self._database.execute("DELETE FROM results")
                self._database.execute("DELETE FROM meta")
            found = dict(self._database.execute("SELECT name, value FROM meta"))
            if found:
                _refuse_difference(self.path, found, wanted)
            self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", wanted.items())

    def known(self, first: int, last: int, *, scored_only: bool) -> dict[int, bytes]:
        """Digests of the rows that are done, by position, `first` to `last` inclusive."""
        query = _KNOWN + (" AND score IS NOT NULL" if scored_only else "")
        with _one_sentence(self.path):
            return dict(self._database.execute(query, (first, last)).fetchall())

    def commit(self, entries: Sequence[Entry]) -> None:
        """Writes entries; when this returns they survive a crash.

        Raises JudgeServiceError if they could not be written; then none of them is.
        """
        rows = [_columns(entry) for entry in entries]
        with _one_sentence(self.path), self._transaction():
            self._database.executemany(_INSERT, rows)
        self._rows += len(rows)
        self._commits += 1

    def entries(self, total: int) -> Iterator[Entry]:
        """The entries of the first `total` positions, in the input's order."""
        with _one_sentence(self.path):
            yield from self._entries(_ENTRIES, {"total": total})

    def groups(self, total: int) -> tuple[int, int]:
        """How many prompts have several scored rows, and in how many of them all scores are equal.

        Over the first `total` positions; rows without a prompt (key `""`) are in no group.
        """
        with _one_sentence(self.path):
            ((several, equal),) = self._database.execute(_GROUPS, {"total": total})
        return several, equal

    def rows_beside_gaps(self, total: int) -> Iterator[Entry]:
        """The entries of every prompt of which a row lacks its score or a criterion's."""
        with _one_sentence(self.path):
            yield from self._entries(_SIBLINGS, {"total": total})

    def close(self) -> None:
        """Gives up the lock."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _entries(self, query: str, values: Mapping[str, int]) -> Iterator[Entry]:
        for position, digest, group_key, id_json, reward in self._database.execute(query, values):
            yield Entry(position, digest, group_key, id_json, self._decoder.decode(reward))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # a full disk may have rolled back by itself
                self._database.execute("ROLLBACK")
            raise


def _columns(entry: Entry) -> tuple[Any, ...]:
    reward = entry.reward
    has_gap = reward.score is None or any(part.score is None for part in reward.parts)
    return (
        entry.position,
        entry.digest,
        entry.group_key,
        entry.id,
        reward.score,
        has_gap,
        msgspec.json.encode(reward),
    )


def journal_path(output: Path) -> Path:
    """Where the journal of an output file is."""
    return output.with_name(output.name + ".journal")


def _refuse_difference(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    names = [name for name in wanted if found.get(name) != wanted[name]]
    if names:
        differences = ", ".join(
            f"{name} {found.get(name) or 'none'} (now {wanted[name] or 'none'})" for name in names
        )
        raise SettingsError(
            f"{path}: was made with another {differences}; use --restart to judge every row again,"
            " or another output"
        )


@contextmanager
def _one_sentence(path: Path, kind: type[JudgeServiceError] = JudgeServiceError) -> Iterator[None]:
    """Turns what SQLite says into what a person can act on."""
    try:
        yield
    except sqlite3.Error as problem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        raise kind(
            f"{path}: {_MENDS.get(code, f'{problem}; what was committed is kept')}"
        ) from None


_MENDS: Mapping[Any, str] = {
    sqlite3.SQLITE_BUSY: "another run is writing this output; wait for it, or choose another output",
    sqlite3.SQLITE_LOCKED: "another run is writing this output; wait for it, or choose another output",
    sqlite3.SQLITE_NOTADB: "is not a journal of this program; move it away, or choose another output",
    sqlite3.SQLITE_CORRUPT: "the journal is damaged; delete it to judge every row again",
    sqlite3.SQLITE_FULL: "the disk is full; make room and run the same command again, what was"
    " committed is kept",
    sqlite3.SQLITE_IOERR: "the disk cannot be written (full, or failing); mend it and run the same"
    " command again, what was committed is kept",
    sqlite3.SQLITE_READONLY: "cannot be written (read-only); choose another output",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or created; does the directory exist, and may you"
    " write there?",
}
