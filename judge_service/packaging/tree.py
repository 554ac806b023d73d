"""Lays out the files of a function in a folder, as the zip will hold them."""

import shutil
import subprocess
import zipfile
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Literal

from judge_service.errors import JudgeServiceError, SettingsError
from judge_service.packaging.inputs import Inputs
from judge_service.packaging.target import Interpreter

Kind = Literal["lambda", "layer"]

CODE = Path(__file__).parents[2]
"""The folder that holds our two packages: a checkout, or site-packages."""

UNUSED = ("cli", "api", "simulator", "packaging", "testing.py", "__main__.py")
"""Parts of `judge_service` that a function never imports; the tests run the zip without them."""

MOUNTED = {"lambda": PurePosixPath("/var/task"), "layer": PurePosixPath("/opt")}
"""The folders into which Lambda unpacks a function and a layer."""

COMPILE_TIMEOUT_S = 120.0


def lay_out(folder: Path, kind: Kind, wheels: Sequence[Path], inputs: Inputs) -> None:
    """Fills `folder` with the files. A layer has its code under `python/`, as Lambda requires.

    Raises SettingsError for an input that cannot be packed.
    """
    code = code_folder(folder, kind)
    code.mkdir(parents=True, exist_ok=True)
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as packed:
            packed.extractall(code)
    _copy_ours(code)
    for module in inputs.modules:
        _copy(module, code / module.name)
    if inputs.config is not None:
        _copy(inputs.config, folder / "judge.toml")
        for path in inputs.beside:
            _copy(path, folder / _place_of(path, inputs.config.parent))


def code_folder(folder: Path, kind: Kind) -> Path:
    return folder / "python" if kind == "layer" else folder


def compile_bytecode(folder: Path, kind: Kind, interpreter: Interpreter) -> None:
    """Adds unchecked `.pyc` files, so that a cold start compiles nothing.

    Lambda's folder is read-only, so without them every cold start compiles every module. They are unchecked
    because the times in the zip mean nothing. The file names in them are Lambda's, for tracebacks. Hash seed
    and order are fixed, so that the same interpreter writes the same bytes.
    """
    mounted = str(MOUNTED[kind])
    options = ["-q", "--invalidation-mode", "unchecked-hash", "-s", str(folder), "-p", mounted]
    done = subprocess.run(  # noqa: S603 - an interpreter found by `find_interpreter`
        [interpreter.path, "-s", "-S", "-m", "compileall", *options, str(folder)],
        env={"PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        timeout=COMPILE_TIMEOUT_S,
        check=False,
    )
    if done.returncode:
        said = (done.stdout + done.stderr).strip().replace(str(folder), "").splitlines()
        raise JudgeServiceError(
            f"Python {interpreter.version} does not compile the package: {' '.join(said[:3])}"
        )


def _copy_ours(code: Path) -> None:
    junk = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")
    for package in ("judge_service", "lambda_adapter"):
        shutil.copytree(CODE / package, code / package, ignore=junk, dirs_exist_ok=True)
    for name in UNUSED:
        path = code / "judge_service" / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    for path in (code / "lambda_adapter").iterdir():
        if path.is_file() and path.suffix != ".py":  # the template and its pages
            path.unlink()


def _place_of(path: Path, folder: Path) -> Path:
    try:
        return path.resolve().relative_to(folder.resolve())
    except ValueError:
        raise SettingsError(
            f"{path}: is outside {folder}, the folder of the settings that name it; put it there, or"
            " below, so that the package can keep the two together"
        ) from None


def _copy(source: Path, to: Path) -> None:
    if to.exists():
        raise SettingsError(f"{source}: the package has a {to.name} already; rename the file")
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        shutil.copyfile(source, to)
    except OSError as problem:
        raise SettingsError(f"{source}: cannot be packed ({problem.strerror})") from None
