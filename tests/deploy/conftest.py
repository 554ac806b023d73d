"""Programs that lint deployment files; `make deploy-tools` installs them in an environment of their own."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
PLACES = os.pathsep.join([str(ROOT / ".venv-deploy" / "bin"), os.environ.get("PATH", "")])

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run() -> Run:
    """Runs a program of `.venv-deploy` or of the system; the test is skipped where there is none."""

    def run(name: str, *arguments: object, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        program = shutil.which(name, path=PLACES)
        if program is None:
            missing = f"there is no {name}; `make deploy-tools` or apt-get install it"
            assert not os.environ.get("CI"), missing
            pytest.skip(missing)
        command = [program, *map(str, arguments)]
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=30, check=False, cwd=ROOT
        )

    return run
