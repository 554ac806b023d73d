"""Builds the zip of `judge package lambda` or `judge package layer`."""

import hashlib
import tempfile
from pathlib import Path

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.packaging.archive import unpacked_bytes, write_archive
from judge_service.packaging.cold_start import ColdStart, measure
from judge_service.packaging.inputs import Inputs
from judge_service.packaging.pins import LOCK, pins
from judge_service.packaging.target import Target, find_interpreter
from judge_service.packaging.tree import Kind, compile_bytecode, lay_out
from judge_service.packaging.wheels import fetch
from judge_service.settings import Settings


class Package(Struct, frozen=True):
    """A package that was built. bytecode: the Python it is for, or why there is none."""

    path: Path
    kind: Kind
    target: Target
    packed_bytes: int
    unpacked_bytes: int
    sha256: str
    packages: tuple[str, ...]
    hashes_checked: bool
    bytecode: str
    cold_start: ColdStart


def build(
    archive: Path,
    kind: Kind,
    target: Target,
    settings: Settings,
    inputs: Inputs,
    *,
    cache: Path,
    lock: Path = LOCK,
) -> Package:
    """Builds the zip and measures it.

    settings: decide what is packed. The package holds `inputs.config`, not these.
    cache: where wheels are kept between builds.

    Raises SettingsError for settings or inputs that cannot be packed, JudgeServiceError if pip fails.
    """
    pinned = pins(settings, lock)
    interpreter = find_interpreter(target.python)
    with tempfile.TemporaryDirectory() as folder:
        lay_out(Path(folder), kind, fetch(pinned, target, cache), inputs)
        if interpreter is not None:
            compile_bytecode(Path(folder), kind, interpreter)
        _write(Path(folder), archive)
    missing = f"none, every cold start compiles: there is no Python {target.python} on this machine"
    return Package(
        path=archive,
        kind=kind,
        target=target,
        packed_bytes=archive.stat().st_size,
        unpacked_bytes=unpacked_bytes(archive),
        sha256=hashlib.sha256(archive.read_bytes()).hexdigest(),
        packages=tuple(map(str, pinned)),
        hashes_checked=all(pin.hashes for pin in pinned),
        bytecode=f"CPython {interpreter.version}" if interpreter else missing,
        cold_start=measure(archive, kind, target, interpreter),
    )


def _write(folder: Path, archive: Path) -> None:
    try:
        write_archive(folder, archive)
    except OSError as problem:
        raise SettingsError(f"{archive}: cannot be written ({problem.strerror})") from None
