"""Loads a custom grader from its module or file, and finds the line of its code that failed."""

import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from traceback import walk_tb
from types import FrameType, ModuleType
from typing import Any

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.grading.rewards import printable


class Source(Struct, frozen=True):
    """A custom grader's function, and the files that contain the user's code.

    spec: as in the settings.
    version: 16 hex characters, a hash of the module's file; empty when it has none.
    home: the file of the module, or the folder of its package.
    """

    spec: str
    function: Callable[..., Any]
    version: str
    home: Path

    def place(self, error: BaseException) -> str:
        """` at file:line` of the innermost line of the user's code in an error's traceback."""
        return _at(self.home, walk_tb(error.__traceback__))

    def place_in(self, frame: FrameType | None) -> str:
        """The same for a running thread, from its innermost frame."""
        frames = []
        while frame is not None:
            frames.append((frame, frame.f_lineno))
            frame = frame.f_back
        return _at(self.home, reversed(frames))


def _at(home: Path, frames: Iterable[tuple[FrameType, int]]) -> str:
    """The place of the last frame in the user's files. frames: outermost first."""
    place = ""
    for frame, line in frames:
        path = Path(frame.f_code.co_filename)
        if path == home or home in path.parents:
            place = f" at {path.relative_to(home.parent)}:{line}"
    return place


def load_source(spec: str) -> Source:
    """Imports the module and finds the function.

    spec: `module:function`, or `path/to/file.py:function`.

    Raises SettingsError, one sentence with the line that failed.
    """
    name, _, attribute = spec.rpartition(":")
    module, home = _load_file(Path(name)) if name.endswith(".py") else _import(name)
    function = getattr(module, attribute, None)
    if not callable(function):
        raise SettingsError(f"`grader`: there is no function `{attribute}` in {name}")
    return Source(spec, function, _version(module), home)


def _import(name: str) -> tuple[ModuleType, Path]:
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as problem:
        if problem.name is None or not f"{name}.".startswith(f"{problem.name}."):
            raise _failed(name, problem, _guessed_home(name)) from problem
        raise SettingsError(
            f"`grader`: there is no module `{problem.name}` on Python's path; install it, or name its"
            " file: path/to/file.py:function"
        ) from None
    except (Exception, SystemExit) as problem:
        raise _failed(name, problem, _guessed_home(name)) from problem
    return module, _guessed_home(name)


def _guessed_home(name: str) -> Path:
    """The folder of the outermost package, or the module's file. Works also after a failed import."""
    top = name.partition(".")[0]
    for one in (top, name):
        spec = getattr(sys.modules.get(one), "__spec__", None)
        if spec is None and one == top:  # only the outermost package is found without an import
            spec = importlib.util.find_spec(one)
        if spec is not None and spec.has_location and spec.origin:
            origin = Path(spec.origin)
            return origin.parent if spec.submodule_search_locations else origin
    return Path(f"{top}.py")


def _load_file(path: Path) -> tuple[ModuleType, Path]:
    path = path.resolve()
    if not path.is_file():
        raise SettingsError(f"`grader`: there is no file {path}")
    spec = importlib.util.spec_from_file_location(f"judge_grader_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise SettingsError(f"`grader`: {path} cannot be loaded as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickle look there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as problem:
        del sys.modules[spec.name]
        raise _failed(path.name, problem, path) from problem
    return module, path


def _failed(name: str, problem: BaseException, home: Path) -> SettingsError:
    if isinstance(problem, SyntaxError) and problem.filename:
        place, said = f" at {Path(problem.filename).name}:{problem.lineno}", problem.msg
    else:
        place, said = _at(home, walk_tb(problem.__traceback__)), _said(problem)
    return SettingsError(
        printable(f"`grader`: importing {name} failed{place}: {type(problem).__name__}: {said}")
    )


def _said(problem: BaseException) -> str:
    """The text of an exception, also of one whose `str` fails."""
    try:
        return str(problem)
    except Exception:  # noqa: BLE001 - foreign code
        return "(it cannot be shown)"


def describe(problem: BaseException) -> str:
    """The type and text of an exception, such as `ValueError: no digits`."""
    return f"{type(problem).__name__}: {_said(problem)}".removesuffix(": ")


def _version(module: ModuleType) -> str:
    try:
        content = Path(module.__file__ or "").read_bytes()
    except OSError:
        return ""
    return hashlib.sha256(content).hexdigest()[:16]


def frames_of(thread_id: int | None) -> FrameType | None:
    """The innermost frame of a running thread."""
    return sys._current_frames().get(thread_id or 0)  # noqa: SLF001 - the only way, documented for this
