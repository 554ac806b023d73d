"""The program of a query's process: runs one query on several in-memory databases, and writes JSON.

It is run by its path and imports nothing of ours. It reads one line of JSON and writes one:

    {"dialect", "scripts": [text, ...], "query", "max_rows", "max_bytes", "timeout_s", "cpu_s",
     "memory_bytes"}
    {"results": [{"rows": [...]} or {"failure": "refused" | "error" | "time" | "size" | "script"}, ...]}

`timeout_s` is for the query on all databases together, without making them; `cpu_s` is the kernel's limit for
all. The scripts (schema and rows) are trusted. The query is not; it may only read.
"""

import json
import resource
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

READING = frozenset(
    {
        sqlite3.SQLITE_FUNCTION,
        sqlite3.SQLITE_READ,
        sqlite3.SQLITE_RECURSIVE,
        sqlite3.SQLITE_SELECT,
    }
)
REFUSED_FUNCTIONS = frozenset({"fts3_tokenizer", "load_extension", "readfile", "writefile", "edit"})
STEPS = 10_000
"""Instructions of SQLite's virtual machine between two checks of the clock: well under a millisecond."""

AT_ONCE = 500
LIBRARY_BYTES = 2 * 2**30
"""Address space of the interpreter and DuckDB, in addition to a query's memory."""


class Failed(Exception):
    """A query failed. kind: the word in the output."""

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def main() -> None:
    request = json.loads(sys.stdin.readline())
    limit(request["memory_bytes"], request["cpu_s"])
    query = {"sqlite": on_sqlite, "duckdb": on_duckdb}[request["dialect"]]
    results: list[dict[str, Any]] = []
    for script in request["scripts"]:
        if request["timeout_s"] <= 0:
            results.append({"failure": "time"})
            continue
        try:
            results.append({"rows": query(script, request)})
        except Failed as failed:
            results.append({"failure": failed.kind})
        except MemoryError:
            results.append({"failure": "size"})
    sys.stdout.write(json.dumps({"results": results}) + "\n")


def limit(memory_bytes: int, cpu_s: int) -> None:
    """Sets the kernel's limits: no file can be written, and memory and CPU are bounded."""
    for what, most in (
        (resource.RLIMIT_AS, memory_bytes + LIBRARY_BYTES),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


def on_sqlite(script: str, request: dict[str, Any]) -> list[Any]:
    """Runs the query on a SQLite database that the script makes."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(script)
    except (sqlite3.Error, sqlite3.Warning):
        raise Failed("script") from None
    refused = False

    def may(action: int, _table: str | None, function: str | None, *_: str | None) -> int:
        nonlocal refused
        if action in READING and function not in REFUSED_FUNCTIONS:
            return sqlite3.SQLITE_OK
        refused = True
        return sqlite3.SQLITE_DENY

    started = time.monotonic()
    deadline = started + request["timeout_s"]
    connection.execute("PRAGMA query_only = ON")
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, request["max_bytes"])
    connection.setlimit(sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 200)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.set_authorizer(may)
    connection.set_progress_handler(lambda: time.monotonic() > deadline, STEPS)
    try:
        return fetched(connection.execute(request["query"]), request)
    except (sqlite3.Error, sqlite3.Warning, ValueError, OverflowError) as problem:
        if refused:
            raise Failed("refused") from None
        raise Failed("time" if time.monotonic() > deadline else _kind(problem)) from None
    finally:
        request["timeout_s"] -= time.monotonic() - started


def _kind(problem: Exception) -> str:
    code = getattr(problem, "sqlite_errorcode", None)
    return "size" if code in (sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_NOMEM) else "error"


def on_duckdb(script: str, request: dict[str, Any]) -> list[Any]:
    """Runs the query on DuckDB, without access to files, network, extensions or Python's variables."""
    import duckdb  # noqa: PLC0415  only if it is used; it takes a tenth of a second

    memory = f"{request['memory_bytes'] // 2**20}MB"
    connection = duckdb.connect(":memory:", config={"threads": 1, "memory_limit": memory})
    try:
        connection.execute(script)
    except duckdb.Error:
        raise Failed("script") from None
    for setting in (
        "python_enable_replacements = false",
        "autoinstall_known_extensions = false",
        "autoload_known_extensions = false",
        "temp_directory = ''",
        "enable_external_access = false",
        "lock_configuration = true",
    ):
        connection.execute(f"SET {setting}")
    late = threading.Timer(request["timeout_s"], connection.interrupt)
    late.daemon = True
    started = time.monotonic()
    late.start()
    try:
        statements = connection.extract_statements(request["query"])
        if len(statements) != 1 or statements[0].type != duckdb.StatementType.SELECT:
            raise Failed("refused")
        return fetched(connection.execute(statements[0]), request)
    except duckdb.InterruptException:
        raise Failed("time") from None
    except duckdb.PermissionException:
        raise Failed("refused") from None
    except duckdb.OutOfMemoryException:
        raise Failed("size") from None
    except (duckdb.Error, ValueError, TypeError, OverflowError, RuntimeError):
        raise Failed("error") from None
    finally:
        late.cancel()
        request["timeout_s"] -= time.monotonic() - started
        connection.close()


def fetched(cursor: Any, request: dict[str, Any]) -> list[Any]:
    """All rows as JSON values; too many are a failure."""
    rows: list[Any] = []
    left = request["max_bytes"]
    for row in _rows(cursor):
        values = [portable(value) for value in row]
        left -= 2 + sum(len(value) if isinstance(value, str) else 8 for value in values)
        rows.append(values)
        if left < 0 or len(rows) > request["max_rows"]:
            raise Failed("size")
    return rows


def _rows(cursor: Any) -> Iterator[Sequence[Any]]:
    while some := cursor.fetchmany(AT_ONCE):
        yield from some


def portable(value: Any) -> Any:
    """A value as JSON: numbers and text unchanged, truth values as numbers, all others as typed text."""
    if value is None or type(value) in (int, float, str):
        return value
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, bytes):
        return "bytes " + value.hex()
    if hasattr(value, "as_integer_ratio"):  # Decimal
        return float(value)
    if hasattr(value, "isoformat"):
        return value.isoformat()
    return str(value)


if __name__ == "__main__":
    main()
