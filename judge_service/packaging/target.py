"""For which Lambda a package is built, and which interpreter of this machine is the same Python."""

import json
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from msgspec import Struct

from judge_service.errors import SettingsError

PYTHONS = ("3.12", "3.13", "3.14")
"""Lambda's runtimes that are not deprecated and run this code."""

MACHINES = {"x86_64": "x86_64", "arm64": "aarch64"}
"""Lambda's word for an architecture, and the word of wheels and of `uname`."""

GLIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
"""Builds that run on Amazon Linux 2023 (glibc 2.34), which all of these runtimes are."""

PROBE = (
    "import json, platform, sys; print(json.dumps([sys.version.split()[0], platform.machine()]))"
)
PROBE_TIMEOUT_S = 10.0


class Target(Struct, frozen=True):
    """A Lambda runtime.

    python: `3.13`; any minor version that wheels exist for, Lambda itself takes `PYTHONS`.
    architecture: `x86_64` or `arm64`.
    """

    python: str = "3.13"
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        if self.architecture not in MACHINES:
            raise SettingsError(
                f"there is no Lambda on `{self.architecture}`; use one of {', '.join(MACHINES)}"
            )

    @property
    def machine(self) -> str:
        """As `platform.machine()` says it."""
        return MACHINES[self.architecture]

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of the wheels that run there."""
        return tuple([f"{glibc}_{self.machine}" for glibc in GLIBC])


class Interpreter(Struct, frozen=True):
    """A Python of this machine. version: `3.13.0`."""

    path: Path
    version: str
    machine: str


def find_interpreter(python: str) -> Interpreter | None:
    """A Python of that minor version: the one that runs this, or one on the PATH."""
    for name in (sys.executable, shutil.which(f"python{python}")):
        found = _probe(Path(name)) if name else None
        if found and found.version.startswith(f"{python}."):
            return found
    return None


def _probe(path: Path) -> Interpreter | None:
    """`None` if it does not run: version managers leave names on the PATH that only print an error."""
    if path == Path(sys.executable):
        return Interpreter(path, platform.python_version(), platform.machine())
    try:
        said = subprocess.run(  # noqa: S603 - an interpreter by its full path
            [path, "-I", "-c", PROBE], capture_output=True, timeout=PROBE_TIMEOUT_S, check=True
        )
        version, machine = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Interpreter(path, version, machine)
