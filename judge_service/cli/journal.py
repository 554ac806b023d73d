"""The journal of `judge score`: keeps results on disk, so that a judged row survives a crash.

It is one SQLite file next to the output, in WAL mode with `synchronous=FULL`: a committed row survives
kill -9 and loss of power. A commit takes 1.4 ms on our machine, so results are committed in groups (50,000
rows/s with 100 rows a commit). The exclusive locking mode keeps a second run from the same output and needs
no shared memory file; the kernel releases the lock when the process dies.
"""

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import msgspec
from msgspec import Struct

from judge_service.errors import JudgeServiceError, SettingsError, WireError
from judge_service.values import Reward, differences
from judge_service.wire import read_json

UNDECODABLE = (msgspec.MsgspecError, UnicodeDecodeError, TypeError)
"""What decoding a damaged result raises; SQLite may give it another type, too."""

FORMAT = "2"
_FORMAT = "journal format"

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
_KNOWN = "SELECT position, digest, id, reward FROM results WHERE position BETWEEN ? AND ?"
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
    digest: SHA-256 of the row's bytes; a changed row is judged again.
    id: the row's id as JSON.
    """

    position: int
    digest: bytes
    group_key: str
    id: bytes
    reward: Reward


class Journal:
    """The results of one output file. Its methods block: call them from one thread at a time.

    was_empty: whether the file was there with 0 bytes: cut, or left by a run that was killed at its start.
    damaged: results that `known` could not decode.
    """

    def __init__(self, path: Path) -> None:
        """Opens or creates the file and locks it.

        Raises SettingsError if it is in use, is not a journal, or cannot be written.
        """
        self.path = path
        self.was_empty = path.exists() and path.stat().st_size == 0
        self.damaged = 0
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
        """Binds the journal to a judge.

        meta: everything that changes answers, by its name for a person.
        restart: delete the present results.

        Raises SettingsError if the journal was made with another `meta`.
        """
        wanted = {_FORMAT: FORMAT, **meta}
        with _one_sentence(self.path), self._transaction():
            if restart:
                self._database.execute("DELETE FROM results")
                self._database.execute("DELETE FROM meta")
            found = dict(self._database.execute("SELECT name, value FROM meta"))
            if found:
                _refuse_difference(self.path, found, wanted)
            self._database.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", wanted.items())

    def known(self, first: int, last: int, *, scored_only: bool) -> dict[int, bytes]:
        """Digests of the rows that are done, by position, `first` to `last` inclusive.

        A result that cannot be decoded is not done: its row is judged again, which replaces it.
        """
        query = _KNOWN + (" AND score IS NOT NULL" if scored_only else "")
        with _one_sentence(self.path):
            found = self._database.execute(query, (first, last)).fetchall()
        readable = {
            position: digest
            for position, digest, id_json, reward in found
            if self._can_decode(id_json, reward)
        }
        self.damaged += len(found) - len(readable)
        return readable

    def _can_decode(self, id_json: bytes, reward: bytes) -> bool:
        try:
            self._decoder.decode(reward)
            read_json(id_json, max_bytes=len(id_json))
        except (*UNDECODABLE, WireError):
            return False
        return True

    def commit(self, entries: Sequence[Entry]) -> None:
        """Writes entries. When it returns, they survive a crash.

        Raises JudgeServiceError if they cannot be written; then none of them is written.
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
        """The number of groups with several scored rows, and of those among them with equal scores only.

        Counts the first `total` positions. Rows without a group key belong to no group.
        """
        with _one_sentence(self.path):
            ((several, equal),) = self._database.execute(_GROUPS, {"total": total})
        return several, equal

    def rows_beside_gaps(self, total: int) -> Iterator[Entry]:
        """The entries of all groups in which a row has no score, or a criterion has none."""
        with _one_sentence(self.path):
            yield from self._entries(_SIBLINGS, {"total": total})

    def close(self) -> None:
        """Closes the file, which releases the lock."""
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
            if self._database.in_transaction:  # after a full disk SQLite may have rolled back
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
    """The path of the journal of an output file."""
    return output.with_name(output.name + ".journal")


def _refuse_difference(path: Path, found: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    if found.get(_FORMAT) != wanted[_FORMAT]:  # another format describes its judge in other words
        found, wanted = ({_FORMAT: one.get(_FORMAT, "")} for one in (found, wanted))
    if said := differences(found, wanted):
        raise SettingsError(
            f"{path}: was made with another {said}; use --restart to judge every row again,"
            " or another output"
        )


@contextmanager
def _one_sentence(path: Path, kind: type[JudgeServiceError] = JudgeServiceError) -> Iterator[None]:
    """Converts an SQLite error to one with a sentence that names the remedy."""
    try:
        yield
    except sqlite3.Error as problem:
        code = getattr(problem, "sqlite_errorcode", 0) & 0xFF
        raise kind(
            f"{path}: {_MENDS.get(code, f'{problem}; the committed results are kept')}"
        ) from None
    except UNDECODABLE as problem:
        raise kind(
            f"{path}: a result in it is damaged ({problem}); run the same command again, which judges its row"
            " again"
        ) from None


_MENDS: Mapping[Any, str] = {
    sqlite3.SQLITE_BUSY: "another run is writing this output; wait for it, or choose another output",
    sqlite3.SQLITE_LOCKED: "another run is writing this output; wait for it, or choose another output",
    sqlite3.SQLITE_NOTADB: "is not a journal of this program; move it away, or choose another output",
    sqlite3.SQLITE_CORRUPT: "the journal is damaged; delete it to judge every row again",
    sqlite3.SQLITE_FULL: "the disk is full; free some space and run the same command again, the"
    " committed results are kept",
    sqlite3.SQLITE_IOERR: "the disk cannot be written (full, or failing); fix it and run the same"
    " command again, the committed results are kept",
    sqlite3.SQLITE_READONLY: "cannot be written (read-only); choose another output",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened or created; check that the directory exists and that you"
    " may write to it",
}
