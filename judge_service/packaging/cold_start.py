"""Measures how long a package's handler takes to import, if this machine can run it."""

import statistics
import subprocess
import tempfile
import zipfile
from pathlib import Path

from msgspec import Struct

from judge_service.errors import JudgeServiceError
from judge_service.packaging.target import Interpreter, Target
from judge_service.packaging.tree import Kind, code_folder

RUNS = 5
RUN_TIMEOUT_S = 30.0
IMPORT = """
import sys, time
sys.path.insert(0, sys.argv[1])
began = time.perf_counter()
import lambda_adapter.handler
print(time.perf_counter() - began)
"""


class ColdStart(Struct, frozen=True):
    """The import's time. import_s: median over fresh interpreters, `None` if it cannot be measured here.

    note: where it was measured, or why it was not.
    """

    import_s: float | None
    note: str


def measure(
    archive: Path, kind: Kind, target: Target, interpreter: Interpreter | None
) -> ColdStart:
    """Imports the handler from the unpacked zip, with nothing else on the path.

    Raises JudgeServiceError if it does not import: such a package must not be deployed.
    """
    if interpreter is None:
        return ColdStart(None, f"not measured: there is no Python {target.python} on this machine")
    if interpreter.machine != target.machine:
        return ColdStart(None, f"not measured: this machine is {interpreter.machine}")
    with tempfile.TemporaryDirectory() as folder:
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(folder)
        code = code_folder(Path(folder), kind)
        seconds = [_import_s(interpreter, code) for _ in range(RUNS)]
    return ColdStart(statistics.median(seconds), f"on this machine, CPython {interpreter.version}")


def _import_s(interpreter: Interpreter, code: Path) -> float:
    done = subprocess.run(  # noqa: S603 - an interpreter found by `find_interpreter`
        [interpreter.path, "-I", "-S", "-B", "-c", IMPORT, code],
        capture_output=True,
        text=True,
        timeout=RUN_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        raise JudgeServiceError(f"the package's handler does not import: {last}")
    return float(done.stdout)
