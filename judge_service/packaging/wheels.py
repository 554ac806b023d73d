"""Wheels of the pinned packages for the target machine, fetched by pip and cached."""

import hashlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from judge_service.errors import JudgeServiceError
from judge_service.packaging.pins import Pin
from judge_service.packaging.target import Target

PIP_TIMEOUT_S = 180.0
"""Limit for a few hundred kilobytes; only an unusable connection takes longer."""


def default_cache(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of wheels that are kept between builds."""
    base = environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "judge-service" / "wheels"


def fetch(pins: Sequence[Pin], target: Target, cache: Path) -> list[Path]:
    """One wheel per pin, from the cache or from pip's index.

    Raises JudgeServiceError if pip fails, or if the lock does not name a file's hash.
    """
    kept = cache / f"{target.python}-{target.architecture}"
    missing = [pin for pin in pins if _kept(pin, kept) is None]
    if missing:
        kept.mkdir(parents=True, exist_ok=True)
        _download(missing, target, kept)
    return [_checked(pin, kept) for pin in pins]


def _download(pins: Sequence[Pin], target: Target, kept: Path) -> None:
    """Downloads into a temporary folder first, so that the cache never holds a half-written wheel."""
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        _run_pip(_pip_command(pins, target, folder), pins, target)
        for wheel in Path(folder).iterdir():
            wheel.replace(kept / wheel.name)


def _pip_command(pins: Sequence[Pin], target: Target, folder: str) -> list[str]:
    platforms = [word for tag in target.platforms for word in ("--platform", tag)]
    options = ["--only-binary=:all:", "--no-deps", "--no-input", "--disable-pip-version-check"]
    version = ["--implementation", "cp", "--python-version", target.python]
    pip = [sys.executable, "-m", "pip", "download", "--quiet"]
    return [*pip, *options, *version, *platforms, "--dest", folder, *map(str, pins)]


def _run_pip(command: Sequence[str], pins: Sequence[Pin], target: Target) -> None:
    what = f"{', '.join(map(str, pins))} for Python {target.python} on {target.architecture}"
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter's pip
            command, capture_output=True, text=True, timeout=PIP_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        raise JudgeServiceError(
            f"pip did not fetch {what} within {PIP_TIMEOUT_S:g} s; check the network and try again"
        ) from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise JudgeServiceError(
            f"pip could not fetch {what} ({said[-1]}); once fetched, they are cached and need no"
            " network"
        )


def _kept(pin: Pin, kept: Path) -> Path | None:
    start = f"{pin.name.replace('-', '_')}-{pin.version}-"
    return next((file for file in sorted(kept.glob(f"{start}*.whl"))), None)


def _checked(pin: Pin, kept: Path) -> Path:
    """The pin's wheel. A wheel that the lock does not know is deleted, so that the next build retries."""
    wheel = _kept(pin, kept)
    if wheel is None:
        raise JudgeServiceError(f"pip fetched no wheel of {pin}; choose a version that has one")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    if pin.hashes and digest not in pin.hashes:
        wheel.unlink()
        raise JudgeServiceError(
            f"{wheel.name} has the sha256 {digest}, which requirements.lock does not name;"
            " check the index from which pip installs"
        )
    return wheel
