import asyncio
import json
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Front, Verifier, open_verifier
from judge_service.verifiers.sandbox.process import Started, script_command
from judge_service.verifiers.sql import worker
from judge_service.verifiers.sql.rows import agreement, is_ordered, same_rows
from judge_service.verifiers.sql.verifier import REMEMBERED, WHY, WORKER, Sql

SCHEMA = "CREATE TABLE house (id INTEGER, street TEXT, price DOUBLE)"
DATABASES = (
    "INSERT INTO house VALUES (1, 'Elm', 10.5), (2, 'Oak', 20.0), (3, 'Elm', 30.0)",
    "INSERT INTO house VALUES (1, 'Oak', 7.0), (4, 'Ash', NULL)",
    "INSERT INTO house VALUES (9, 'Elm', 1.0), (9, 'Elm', 1.0)",
)
ELM = "SELECT street, price FROM house WHERE street = 'Elm'"


@pytest.fixture(params=["sqlite", "duckdb"])
def dialect(request: pytest.FixtureRequest) -> str:
    if request.param == "duckdb":
        pytest.importorskip("duckdb")
    return str(request.param)


@pytest.fixture
async def verifier(dialect: str) -> AsyncIterator[Verifier]:
    opened = open_verifier("sql", {"dialect": dialect})
    yield opened
    await opened.aclose()


def row(response: str | None, reference: str | None = ELM, **metadata: Any) -> Sample:
    fields = {"schema": SCHEMA, "databases": DATABASES} | metadata
    return Sample(response=response, reference=reference, metadata=fields)


async def score(verifier: Verifier, response: str, reference: str = ELM, **metadata: Any) -> Any:
    return (await verifier(row(response, reference, **metadata))).score


async def once(options: dict[str, Any], sample: Sample) -> Check:
    verifier = open_verifier("sql", options)
    try:
        return await verifier(sample)
    finally:
        await verifier.aclose()


async def test_what_counts_is_the_rows(verifier: Verifier) -> None:
    assert await score(verifier, ELM) == 1
    other_words = "```sql\nSELECT street AS s, price p FROM house WHERE street LIKE 'El%';\n```"
    assert await score(verifier, f"Here it is:\n{other_words}") == 1
    assert await score(verifier, f"{ELM} ORDER BY price DESC") == 1
    assert await score(verifier, "SELECT price, street FROM house WHERE street = 'Elm'") == 0
    assert await score(verifier, f"{ELM} AND price > 5") == 0
    assert await score(verifier, f"SELECT DISTINCT street, price FROM ({ELM}) AS t") == 0


async def test_order_counts_where_the_reference_orders(verifier: Verifier) -> None:
    ordered = "SELECT id FROM house WHERE id < 9 ORDER BY id"
    assert await score(verifier, "SELECT id FROM house WHERE id < 9 ORDER BY id ASC", ordered) == 1
    assert await score(verifier, "SELECT id FROM house WHERE id < 9 ORDER BY -id", ordered) == 0


async def test_numbers_within_the_tolerance_are_equal_and_whole_numbers_exactly(
    verifier: Verifier,
) -> None:
    total = "SELECT sum(price) FROM house"
    assert await score(verifier, "SELECT sum(price) * 1.0000000001 FROM house", total) == 1
    assert await score(verifier, "SELECT sum(price) * 1.001 FROM house", total) == 0
    assert (
        await score(verifier, "SELECT count(*) + 1 FROM house", "SELECT count(*) FROM house") == 0
    )


async def test_a_guess_that_fits_one_database_fits_no_other(verifier: Verifier) -> None:
    guess = "SELECT 'Elm', 10.5 UNION ALL SELECT 'Elm', 30.0"
    assert await score(verifier, guess, databases=DATABASES[:1]) == 1
    assert await score(verifier, guess) == 0


async def test_nothing_is_no_right_answer(verifier: Verifier) -> None:
    nothing = "SELECT street, price FROM house WHERE 1 = 0"
    assert await score(verifier, nothing) == 0
    check = await verifier(row(nothing, reference=nothing))
    assert (check.score, check.reason) == (None, "no_reference")


async def test_rows_earn_credit_when_asked(dialect: str) -> None:
    options = {"dialect": dialect, "credit": "rows"}
    half = await once(options, row(f"{ELM} AND price > 20"))
    right = await once(options, row(ELM))
    none = await once(options, row("SELECT 'x', 1.0"))
    disordered = await once(
        options,
        row(
            "SELECT id FROM house WHERE id < 9 ORDER BY -id",
            "SELECT id FROM house WHERE id<9 ORDER BY id",
        ),
    )

    assert half.score == pytest.approx((2 / 3 + 0) / 2)  # the second database is empty for both
    assert right.score == 1
    assert none.score == 0
    assert disordered.score == pytest.approx(0.99)


@pytest.mark.parametrize(
    ("metadata", "reference"),
    [
        ({}, None),
        ({}, "SELEC 1"),
        ({"schema": None}, ELM),
        ({"schema": "CREATE TABLE"}, ELM),
        ({"databases": []}, ELM),
        ({"databases": "INSERT"}, ELM),
        ({"databases": [3]}, ELM),
        ({"databases": ["INSERT INTO nowhere VALUES (1)"]}, ELM),
        ({"databases": [""] * 21}, ELM),
    ],
)
async def test_a_row_without_a_usable_reference_is_unscored(
    verifier: Verifier, metadata: dict[str, Any], reference: str | None
) -> None:
    check = await verifier(row(ELM, reference, **metadata))
    assert (check.score, check.reason) == (None, "no_reference")
    assert check.detail


async def test_a_row_without_an_answer_is_unscored(verifier: Verifier) -> None:
    assert (await verifier(row(None))).reason == "no_response"


HOSTILE = {
    "write": "INSERT INTO house VALUES (1, 'Elm', 1.0)",
    "drop": "DROP TABLE house",
    "two statements": f"{ELM}; DROP TABLE house",
    "attach": "ATTACH '@FILE@' AS other",
    "pragma": "PRAGMA writable_schema = ON",
    "extension": "SELECT load_extension('libc.so.6')",
    "load": "LOAD 'libc.so.6'",
    "install": "INSTALL httpfs",
    "read": "SELECT * FROM read_text('@FILE@')",
    "read as a table": "SELECT * FROM '@FILE@'",
    "readfile": "SELECT readfile('@FILE@')",
    "glob": "SELECT * FROM glob('/*')",
    "copy": "COPY (SELECT 1) TO '@FILE@.out'",
    "export": "EXPORT DATABASE '@FILE@.out'",
    "vacuum": "VACUUM INTO '@FILE@.out'",
    "variable of Python": "SELECT * FROM request",
    "environment": "SELECT getenv('SECRET')",
    "setting": "SET enable_external_access = true",
    "unlock": "SET lock_configuration = false",
    "endless": "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x FROM t) SELECT max(x) FROM t",
    "many rows": "WITH RECURSIVE t(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM t) SELECT x FROM t",
    "large blob": "SELECT zeroblob(2000000000)",
    "product": "SELECT count(*) FROM " + ", ".join(f"house AS h{n}" for n in range(40)),
    "deep": "SELECT " + "(" * 5_000 + "1" + ")" * 5_000,
    "no query": "I cannot write it.",
    "NUL": "SELECT 1\0",
    "surrogate": "SELECT '\ud800'",
}


REQUEST = {"max_rows": 100, "max_bytes": 100_000, "timeout_s": 0.2, "memory_bytes": 64 * 2**20}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_query_can_only_read_and_ends_in_time(
    name: str, dialect: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "Elm")
    file = tmp_path / "secret"
    file.write_text("Elm")
    on = {"sqlite": worker.on_sqlite, "duckdb": worker.on_duckdb}[dialect]
    query = HOSTILE[name].replace("@FILE@", str(file))
    started = time.monotonic()

    if name == "NUL" and dialect == "duckdb":  # to DuckDB it is the end
        assert on(f"{SCHEMA};{DATABASES[0]}", REQUEST | {"query": query}) == [[1]]
        return
    with pytest.raises(worker.Failed) as failed:
        on(f"{SCHEMA};{DATABASES[0]}", REQUEST | {"query": query})

    assert failed.value.kind in WHY
    assert time.monotonic() - started < 5
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


async def test_hostile_queries_are_bad_answers_with_a_reason(verifier: Verifier) -> None:
    for name, detail in (
        ("write", "The query does more than read."),
        ("many rows", "The query's result or its memory is too large."),
        ("no query", "The query fails."),
    ):
        check = await verifier(row(HOSTILE[name]))
        assert (check.score, check.detail) == (0, detail)


async def test_a_query_that_hears_no_clock_is_ended_by_the_kernel(dialect: str) -> None:
    deaf = {
        "sqlite": "SELECT printf('%.*c', 2000000000, 'x')",
        "duckdb": "SELECT length(repeat('x', 2000000000))",
    }
    check = await once({"dialect": dialect, "timeout_s": 0.1}, row(deaf[dialect]))
    assert (check.score, check.detail) == (0, WHY["size"])


async def test_an_endless_query_took_too_long(dialect: str) -> None:
    check = await once({"dialect": dialect, "timeout_s": 0.1}, row(HOSTILE["endless"]))
    assert (check.score, check.detail) == (0, "The query took too long.")


async def running(verifier: Sql) -> asyncio.subprocess.Process:
    """The process of a query that does not end."""
    for _ in range(1000):
        await asyncio.sleep(0.01)
        for process in verifier._started.running:
            return process
    raise AssertionError("no process was started")


async def test_the_results_of_a_reference_are_kept_for_its_group() -> None:
    verifier = open_verifier("sql", {})
    assert isinstance(verifier, Front)
    verifier = verifier.inner
    assert isinstance(verifier, Sql)
    ran: list[str] = []
    run = verifier._run

    async def noted(query: str, scripts: Any) -> Any:
        ran.append(query)
        return await run(query, scripts)

    verifier._run = noted  # type: ignore[method-assign]
    for _ in range(3):
        await verifier(row("SELECT 1"))
    assert ran == [ELM, "SELECT 1", "SELECT 1", "SELECT 1"]
    verifier._known = {(str(n),): [] for n in range(REMEMBERED)}
    await verifier(row("SELECT 1"))
    assert len(verifier._known) == REMEMBERED
    await verifier.aclose()


async def test_a_cancelled_query_leaves_no_process() -> None:
    verifier = open_verifier("sql", {"timeout_s": 60.0})
    assert isinstance(verifier, Front)
    verifier = verifier.inner
    assert isinstance(verifier, Sql)
    await verifier(row("SELECT 1"))
    task = asyncio.create_task(verifier(row(HOSTILE["endless"])))
    process = await running(verifier)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert process.returncode is not None
    assert repr(verifier) == "<Sql on sqlite, 0 running>"


async def test_closing_kills_what_runs_and_can_be_done_twice() -> None:
    verifier = open_verifier("sql", {"timeout_s": 60.0})
    assert isinstance(verifier, Front)
    verifier = verifier.inner
    assert isinstance(verifier, Sql)
    await verifier(row("SELECT 1"))
    task = asyncio.create_task(verifier(row(HOSTILE["endless"])))
    await running(verifier)
    await verifier.aclose()
    await verifier.aclose()
    assert (await task).score == 0


async def test_a_process_that_does_not_start_is_no_bad_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.executable", os.devnull)
    check = await once({}, row(ELM))
    assert (check.score, check.reason) == (None, "grader_error")


def test_a_dialect_that_is_not_installed_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("judge_service.verifiers.sql.verifier.find_spec", lambda _: None)
    with pytest.raises(RubricError, match="needs the package duckdb"):
        open_verifier("sql", {"dialect": "duckdb"})


@pytest.mark.parametrize(
    ("query", "ordered"),
    [
        ("SELECT a FROM t ORDER BY a", True),
        ("select a from t order\n by a", True),
        ("SELECT a FROM (SELECT a FROM t ORDER BY a) LIMIT 1", False),
        ("SELECT 'order by' FROM t", False),
        ('SELECT "order by" FROM t -- order by', False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t", False),
        ("SELECT row_number() OVER (ORDER BY a) FROM t ORDER BY 1", True),
    ],
)
def test_order_is_asked_for_outside_of_parentheses(query: str, ordered: bool) -> None:
    assert is_ordered(query) == ordered


def test_rows_are_a_multiset_with_tolerance() -> None:
    assert same_rows([[1, "a"], [2.0, None]], [[2, None], [1.0, "a"]], 1e-6, ordered=False)
    assert same_rows([[0.4999999995], [7]], [[7], [0.5000000005]], 1e-6, ordered=False)
    assert same_rows([[float("nan")]], [[float("nan")]], 1e-6, ordered=True)
    assert not same_rows([["1"]], [[1]], 1e-6, ordered=False)
    assert not same_rows([[None]], [[0.0]], 1e-6, ordered=False)
    assert not same_rows([[1], [1]], [[1]], 1e-6, ordered=False)
    assert not same_rows([[1]], [[1, 2]], 1e-6, ordered=False)


def test_databases_where_both_find_nothing_earn_nothing() -> None:
    assert agreement([([], []), ([[1]], [[2]])]) == 0
    assert agreement([([], []), ([[1]], [[1], [2]])]) == pytest.approx(2 / 3)
    assert agreement([([[1]], []), ([[1]], [[1]])]) == pytest.approx(0.5)
    assert agreement([([], [])]) == 0


@pytest.mark.parametrize(
    "response",
    [
        "```postgresql\nSELECT 1\n```",
        "1. Run:\n   ```sqlite3\n   SELECT 1\n   ```",
        "<answer>SELECT 1</answer>",
        "<think>SELECT 2</think>SELECT 1",
    ],
)
async def test_a_query_is_found_in_any_fence_tag_or_after_thoughts(response: str) -> None:
    verifier = open_verifier("sql", {})
    asked = row("SELECT 1")
    sample = Sample(response=response, reference="SELECT 1", metadata=asked.metadata)
    assert (await verifier(sample)).score == 1.0
    await verifier.aclose()


async def test_the_limit_of_time_is_for_all_databases_together(dialect: str) -> None:
    request = REQUEST | {"scripts": [""] * 4, "timeout_s": 0.4, "cpu_s": 10, "dialect": dialect}
    request["query"] = HOSTILE["endless"]
    command, environ = script_command(WORKER)
    async with Started().process(command, environ, 100_000) as process:
        assert process.stdin
        assert process.stdout
        started = time.monotonic()
        process.stdin.write(json.dumps(request).encode() + b"\n")
        results = json.loads(await process.stdout.readline())["results"]
    assert results == [{"failure": "time"}] * 4
    assert time.monotonic() - started < 4 * 0.4


async def test_endless_queries_do_not_starve_the_right_ones_behind_them() -> None:
    verifier = open_verifier("sql", {"processes": 1, "timeout_s": 2.0})
    ended: list[float | None] = []

    async def one(query: str) -> None:
        ended.append((await verifier(row(query))).score)

    try:
        await one(ELM)  # so that the reference's result is known
        ended.clear()
        await asyncio.gather(*map(one, [HOSTILE["endless"]] * 3 + [ELM] * 2))
    finally:
        await verifier.aclose()
    assert ended == [0.0, 1.0, 1.0, 0.0, 0.0]
