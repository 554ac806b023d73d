"""Sandboxes that are a process with CPython, which communicates over pipes (`guest.py`).

A process serves one sample and is killed afterwards. There are two commands: the WASI worker (`wasi.py`), and
a bare interpreter, which isolates nothing and is for operators who trust the code that they run.
"""

import asyncio
import json
import os
import secrets
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from judge_service.verifiers.sandbox.guest import Unfit, pack, unpack
from judge_service.verifiers.sandbox.sandbox import (
    Ask,
    Failure,
    Limits,
    Room,
    decoded,
    value_of,
)

GUEST = Path(__file__).with_name("guest.py")
START_S = 30.0
"""Limit of a start, seconds; it takes a tenth of one on an idle machine. It is not the code's time."""

GRACE_S = 5.0
"""Seconds after which a process ends by itself if the parent has died."""


def script_command(script: Path, *arguments: str) -> tuple[Sequence[str], Mapping[str, str]]:
    """The command of one of our scripts, and its environment, which holds only the path of packages.

    `-S -P`: packages are found where this process finds them, also on Lambda, and nowhere else.
    """
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return (sys.executable, "-S", "-P", "-B", "-s", str(script), *arguments), {"PYTHONPATH": path}


class Started:
    """The running processes, so that each can be ended."""

    def __init__(self) -> None:
        self.running: set[Process] = set()

    @asynccontextmanager
    async def process(
        self, command: Sequence[str], environ: Mapping[str, str], line_bytes: int
    ) -> AsyncIterator[Process]:
        """Starts a process with pipes, in a process group that is killed at the end of the block."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=PIPE,
                stdout=PIPE,
                stderr=DEVNULL,
                env=environ,
                cwd="/",
                limit=line_bytes,
                start_new_session=True,
            )
        except OSError:
            raise Failure("broken") from None
        self.running.add(process)
        try:
            yield process
        finally:
            kill(process)
            self.running.discard(process)
            await process.wait()

    def kill(self) -> None:
        for process in self.running:
            kill(process)


def kill(process: Process) -> None:
    """Kills a process and its children."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


class ProcessSandbox:
    """Interpreters started by one command.

    command: gives the command and its environment for a nonce and limits; may take long the first time
        (compiling), and raises Failure if no interpreter can be started.
    """

    def __init__(
        self,
        name: str,
        command: "Callable[[str, Limits], Awaitable[tuple[Sequence[str], Mapping[str, str]]]]",
        aclose: "Callable[[], Awaitable[None]] | None" = None,
    ) -> None:
        self.name = name
        self._command = command
        self._aclose = aclose
        self._started = Started()

    def __repr__(self) -> str:
        return f"<ProcessSandbox {self.name}, {len(self._started.running)} running>"

    @asynccontextmanager
    async def room(self, limits: Limits) -> AsyncIterator[Room]:
        """Starts a process that is ready for requests."""
        nonce = secrets.token_hex(16)
        command, environ = await self._command(nonce, limits)
        line_bytes = 8 * limits.output_bytes + 4096  # JSON of a value is longer than the value
        async with self._started.process(command, environ, line_bytes) as process:
            room = ProcessRoom(process, nonce.encode(), limits)
            await room.start()
            yield room

    def differs(self, source: str) -> bool:  # noqa: ARG002  it is CPython, whatever the code
        """Never: it is CPython."""
        return False

    async def aclose(self) -> None:
        """Kills running processes."""
        self._started.kill()
        if self._aclose is not None:
            await self._aclose()


class ProcessRoom:
    """A process. After a failure other than `error` and `value` it cannot be used again."""

    def __init__(self, process: Process, nonce: bytes, limits: Limits) -> None:
        if process.stdin is None or process.stdout is None:
            raise Failure("broken")
        self._requests = process.stdin
        self._replies = process.stdout
        self._nonce = nonce
        self._limits = limits
        self._noise_bytes = 0

    async def start(self) -> None:
        try:
            await self._reply(START_S)
        except Failure:
            raise Failure("broken") from None

    async def load(self, source: str) -> None:
        await self._request({"load": source})

    async def ask(
        self, expression: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] = {}
    ) -> Any:
        asked = {"ask": expression, "args": _packed(args), "kwargs": _packed(kwargs)}
        return await self._request(asked)

    async def run(self, source: str, stdin: str) -> str:
        return str(await self._request({"run": source, "stdin": stdin}))

    async def check(self, statement: str, ask: Ask) -> None:
        reply = await self._send({"load": statement}, self._limits.total_s)
        while "ask" in reply:
            try:
                expression, args, kwargs = reply["ask"]
                value = await ask(expression, unpack(args), unpack(kwargs))
                answer = {"value": _packed(value)}
            except Failure as failure:
                if failure.kind != "error":
                    raise
                answer = {"error": failure.error}
            reply = await self._send(answer, self._limits.total_s)
        value_of(reply, self._limits.output_bytes)

    async def _request(self, request: Mapping[str, Any]) -> Any:
        reply = await self._send(request, self._limits.call_s)
        return value_of(reply, self._limits.output_bytes)

    async def _send(self, request: Mapping[str, Any], within_s: float) -> dict[str, Any]:
        self._requests.write(json.dumps(request).encode() + b"\n")
        return await self._reply(within_s)

    async def _reply(self, within_s: float) -> dict[str, Any]:
        """The next line with the nonce; other lines were written by the code around its captured output."""
        try:
            async with asyncio.timeout(within_s):
                while not (line := await self._replies.readline()).startswith(self._nonce):
                    self._noise_bytes += len(line)
                    if not line:
                        raise Failure("memory")  # the process died
                    if self._noise_bytes > self._limits.output_bytes:
                        raise Failure("output")
        except TimeoutError:
            raise Failure("time") from None
        except ValueError:  # the line is longer than the reader's limit
            raise Failure("output") from None
        except ConnectionError:
            raise Failure("memory") from None
        return decoded(line.removeprefix(self._nonce))


def _packed(value: Any) -> Any:
    try:
        return pack(value)
    except (Unfit, RecursionError):
        raise Failure("value") from None


async def bare_command(nonce: str, limits: Limits) -> tuple[Sequence[str], Mapping[str, str]]:
    """The command of this interpreter, limited in memory, CPU, files and descriptors, but not isolated."""
    source = await asyncio.to_thread(GUEST.read_text)
    bounds = (str(limits.output_bytes), str(limits.memory_bytes), str(limits.total_s + GRACE_S))
    return (sys.executable, "-I", "-S", "-B", "-c", source, nonce, *bounds), {}
