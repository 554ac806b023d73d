"""`sql`: compares a query with the reference query by their results on several temporary databases.

Rows are compared as a multiset, or in order if the reference orders them; columns are compared by position,
not by name. One database is too few: a wrong query may give the same rows on it. If the reference finds no
rows in any database, the row is unscored.

Each query runs in its own process (`worker.py`), which can only read and is killed when its time is over.
"""

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import EXTRA, Check
from judge_service.verifiers.code_fence import last_block
from judge_service.verifiers.sandbox.process import START_S, Started, script_command
from judge_service.verifiers.sandbox.sandbox import Failure
from judge_service.verifiers.slots import FairSlots
from judge_service.verifiers.sql.rows import Rows, agreement, is_ordered, same_rows

WORKER = Path(__file__).with_name("worker.py")
FENCES = frozenset(
    {
        "sql",
        "sqlite",
        "sqlite3",
        "duckdb",
        "postgresql",
        "postgres",
        "psql",
        "mysql",
        "mariadb",
        "tsql",
    }
)
MAX_DATABASES = 20
MAX_SCRIPT = 4_000_000
MAX_QUERY = 20_000
"""Limits: databases of a row, characters of all their scripts, characters of a query."""

CPU_GRACE_S = 2
"""CPU seconds for making the databases, beyond the query's limit; then the kernel ends a deaf query."""

REMEMBERED = 32
"""References whose results are cached, because the rollouts of a prompt share one."""


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `sql`."""

    dialect: Annotated[
        Literal["sqlite", "duckdb"], Meta(description="which database runs the queries")
    ] = "sqlite"
    schema: Annotated[
        str | None, Meta(description="statements that make the tables; by default the row's field")
    ] = None
    databases: Annotated[
        tuple[str, ...],
        Meta(description="statements that fill them, one text per database; by default the row's"),
    ] = ()
    schema_field: Annotated[str, Meta(description="field of the row with the schema")] = "schema"
    databases_field: Annotated[
        str, Meta(description="field of the row with a list of texts, one per database")
    ] = "databases"
    credit: Annotated[
        Literal["exact", "rows"],
        Meta(
            description=(
                "`exact`: 1 if every database gives the reference's result, else 0; `rows`: the mean F1 of"
                " the rows, below 1 unless all is equal"
            )
        ),
    ] = "exact"
    relative_tolerance: Annotated[
        float, Meta(ge=0, le=0.1, description="of numbers that are not whole")
    ] = 1e-6
    timeout_s: Annotated[
        float, Meta(gt=0, le=300, description="wall seconds for a query on all databases together")
    ] = 5.0
    max_rows: Annotated[int, Meta(ge=1, le=1_000_000, description="rows of a result")] = 10_000
    max_result_kb: Annotated[
        int, Meta(ge=1, le=65_536, description="size of a result, kilobytes")
    ] = 1_024
    memory_mb: Annotated[int, Meta(ge=32, le=8_192, description="of a query, megabytes")] = 256
    processes: Annotated[
        int, Meta(ge=1, le=64, description="queries run at once; others wait their turn")
    ] = 2


def make(options: Options) -> "Sql":
    """Makes the verifier; starts nothing. Raises RubricError if the database is not installed."""
    if options.dialect == "duckdb" and find_spec("duckdb") is None:
        raise RubricError(
            f"the verifier `sql` needs the package duckdb for its dialect: pip install"
            f" 'judge-service[{EXTRA}]'"
        )
    return Sql(options)


Results = Sequence[Mapping[str, Any]]
"""What the worker says of a query, for each database: its rows or why it failed."""


class Unusable(Exception):
    """The row has nothing to compare with; the text says why."""


class Sql:
    """Runs queries, at most `options.processes` at once."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._slots = FairSlots(options.processes)
        self._started = Started()
        self._known: dict[tuple[str, ...], Sequence[Rows]] = {}

    def __repr__(self) -> str:
        return f"<Sql on {self._options.dialect}, {len(self._started.running)} running>"

    async def __call__(self, sample: Sample, /) -> Check:
        """Scores how far the results agree; no score without a reference that runs and finds rows."""
        if sample.response is None:
            return Check(score=None, reason="no_response", detail="The row has no query to run.")
        try:
            scripts = self._scripts(sample)
            expected = await self._expected(sample.reference, scripts)
        except Unusable as problem:
            return Check(score=None, reason="no_reference", detail=str(problem))
        except Failure:
            return Check(score=None, reason="grader_error", detail="The database did not start.")
        query = last_block(sample.response, FENCES).strip()
        if not query or len(query) > MAX_QUERY:
            return Check(score=0.0, detail=f"There is no query of at most {MAX_QUERY} characters.")
        try:
            results = await self._run(query, scripts)
        except Failure as failure:
            return _failed(failure)
        ordered = is_ordered(str(sample.reference))
        return self._compared(results, expected, ordered=ordered)

    async def aclose(self) -> None:
        """Kills running processes."""
        self._started.kill()

    def _scripts(self, sample: Sample) -> tuple[str, ...]:
        options, row = self._options, sample.metadata
        schema = options.schema if options.schema is not None else row.get(options.schema_field)
        databases = options.databases or row.get(options.databases_field)
        if not isinstance(schema, str) or not isinstance(databases, Sequence) or not databases:
            raise Unusable("The row has no schema, or no list of databases.")
        if isinstance(databases, str) or not all(isinstance(one, str) for one in databases):
            raise Unusable("The row's databases are not a list of texts.")
        scripts = tuple(f"{schema}\n;\n{one}" for one in databases)
        if len(scripts) > MAX_DATABASES or sum(map(len, scripts)) > MAX_SCRIPT:
            raise Unusable(
                f"The row has more than {MAX_DATABASES} databases, or more than {MAX_SCRIPT} characters."
            )
        return scripts

    async def _expected(self, reference: str | None, scripts: tuple[str, ...]) -> Sequence[Rows]:
        if not reference or len(reference) > MAX_QUERY:
            raise Unusable(f"The row has no reference query of at most {MAX_QUERY} characters.")
        key = (reference, *scripts)
        if key not in self._known:
            results = await self._run(reference, scripts)
            rows = [result["rows"] for result in results if "rows" in result]
            if len(rows) < len(results):
                raise Unusable("The reference query or its database fails.")
            if not any(rows):
                raise Unusable("The reference query finds no rows in any database.")
            while len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = rows
        return self._known[key]

    async def _run(self, query: str, scripts: Sequence[str]) -> Results:
        """One result per database. Raises Failure: `broken`, `memory`, `output`."""
        return await self._slots.run(partial(self._run_once, query, scripts), _timed_out)

    async def _run_once(self, query: str, scripts: Sequence[str], share: float) -> Results:
        options = self._options
        timeout_s = share * options.timeout_s
        request = {
            "dialect": options.dialect,
            "scripts": scripts,
            "query": query,
            "max_rows": options.max_rows,
            "max_bytes": options.max_result_kb * 1024,
            "timeout_s": timeout_s,
            "cpu_s": int(options.timeout_s) + CPU_GRACE_S,
            "memory_bytes": options.memory_mb * 2**20,
        }
        line_bytes = len(scripts) * options.max_result_kb * 1024 * 8
        command, environ = script_command(WORKER)
        async with self._started.process(command, environ, line_bytes) as process:
            return await _answer(process, request, timeout_s)

    def _compared(self, results: Results, expected: Sequence[Rows], *, ordered: bool) -> Check:
        for result in results:
            if "rows" not in result:
                return Check(score=0.0, detail=WHY.get(str(result.get("failure")), WHY["error"]))
        pairs = [(result["rows"], rows) for result, rows in zip(results, expected, strict=True)]
        tolerance = self._options.relative_tolerance
        equal = [same_rows(*pair, tolerance, ordered=ordered) for pair in pairs]
        detail = f"The result is the reference's in {sum(equal)} of {len(equal)} databases"
        detail += "; one database is thin evidence." if len(equal) == 1 else "."
        if all(equal) or self._options.credit == "exact":
            return Check(score=float(all(equal)), detail=detail)
        return Check(score=agreement(pairs), detail=detail)


WHY: Mapping[str, str] = {
    "refused": "The query does more than read.",
    "error": "The query fails.",
    "time": "The query took too long.",
    "size": "The query's result or its memory is too large.",
    "script": "The database cannot be made.",
}


def _failed(failure: Failure) -> Check:
    if failure.kind == "broken":
        return Check(score=None, reason="grader_error", detail="The database did not start.")
    return Check(score=0.0, detail=WHY["size"])


def _timed_out(results: Results) -> bool:
    return any(result.get("failure") == "time" for result in results)


async def _answer(
    process: asyncio.subprocess.Process, request: Mapping[str, Any], timeout_s: float
) -> Results:
    if process.stdin is None or process.stdout is None:
        raise Failure("broken")
    process.stdin.write(json.dumps(request).encode() + b"\n")
    try:
        async with asyncio.timeout(START_S + timeout_s):
            line = await process.stdout.readline()
    except TimeoutError:
        return [{"failure": "time"}] * len(request["scripts"])
    except ValueError:
        raise Failure("output") from None
    return _results(line, len(request["scripts"]))


def _results(line: bytes, wanted: int) -> Results:
    """The results in the process's output, if it has the right form."""
    try:
        results = json.loads(line)["results"]
        if len(results) == wanted and all(isinstance(one, dict) for one in results):
            return list(results)
    except (ValueError, KeyError, TypeError, RecursionError):
        pass
    raise Failure("memory")
