"""The Lambda runtime that a package is built for, and the interpreter on this machine that matches it."""

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
"""Lambda's names of architectures, and those of wheels and `uname`."""

GLIBC = ("manylinux2014", "manylinux_2_17", "manylinux_2_28")
"""Platform tags of wheels that run on Amazon Linux 2023 (glibc 2.34), the system of all these runtimes."""

PROBE = (
    "import json, platform, sys; print(json.dumps([sys.version.split()[0], platform.machine()]))"
)
PROBE_TIMEOUT_S = 10.0


class Target(Struct, frozen=True):
    """A Lambda runtime.

    python: such as `3.13`. Any minor version with wheels can be built; Lambda accepts `PYTHONS`.
    architecture: `x86_64` or `arm64`.
    """

    python: str = "3.13"
    architecture: str = "x86_64"

    def __post_init__(self) -> None:
        if self.architecture not in MACHINES:
            raise SettingsError(
                f"Lambda has no architecture `{self.architecture}`; use one of {', '.join(MACHINES)}"
            )

    @property
    def machine(self) -> str:
        """The architecture as `platform.machine()` names it."""
        return MACHINES[self.architecture]

    @property
    def platforms(self) -> tuple[str, ...]:
        """Platform tags of the wheels that run on this runtime."""
        return tuple([f"{glibc}_{self.machine}" for glibc in GLIBC])


class Interpreter(Struct, frozen=True):
    """A Python interpreter on this machine. version: such as `3.13.0`."""

    path: Path
    version: str
    machine: str


def find_interpreter(python: str) -> Interpreter | None:
    """Finds an interpreter of a minor version: the running one, or one on the PATH."""
    for name in (sys.executable, shutil.which(f"python{python}")):
        found = _probe(Path(name)) if name else None
        if found and found.version.startswith(f"{python}."):
            return found
    return None


def _probe(path: Path) -> Interpreter | None:
    """Asks an interpreter for its version; `None` if it does not run (a version manager's stub)."""
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
