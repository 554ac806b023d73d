"""The image installs exactly what its extras need of the one lock file."""

import importlib.metadata
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent.parent
SCRIPT = ROOT / "deploy" / "image" / "pinned.py"
LOCK = """# made by uv
alpha==1.0 \\
    --hash=sha256:aa
    # via mine (pyproject.toml)
beta-two==2.0 ; python_full_version < '3.12' \\
    --hash=sha256:bb \\
    --hash=sha256:bc
    # via
    #   alpha
    #   other
gamma==3.0 \\
    --hash=sha256:cc
    # via beta-two
other==4.0 \\
    --hash=sha256:dd
    # via mine (pyproject.toml:dev)
"""


@pytest.fixture
def script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def names(entries: list[str]) -> list[str]:
    return [entry.split("==")[0] for entry in entries]


def needed_by(requirement: Requirement, found: set[str]) -> set[str]:
    """Names that an installed package needs on this Python, by the packages' own word."""
    for extra in ("", *requirement.extras):
        for line in importlib.metadata.requires(requirement.name) or ():
            child = Requirement(line)
            if child.marker is None or child.marker.evaluate({"extra": extra}):
                name = child.name.lower().replace("_", "-")
                if name not in found:
                    found.add(name)
                    needed_by(child, found)
    return found


def test_an_entry_comes_with_its_hashes_its_marker_and_all_that_it_needs(
    script: dict[str, Any],
) -> None:
    entries = script["pinned"](LOCK, {"alpha"})

    assert names(entries) == ["alpha", "beta-two", "gamma"]
    assert entries[1].startswith("beta-two==2.0 ; python_full_version < '3.12' \\\n")
    assert "sha256:bb" in entries[1]
    assert "sha256:bc" in entries[1]


def test_names_are_compared_as_registries_do(script: dict[str, Any]) -> None:
    assert names(script["pinned"](LOCK, {script["normal"]("Beta.Two")})) == ["beta-two", "gamma"]


@pytest.mark.parametrize("extras", ["aws,embedded,redis,service", "aws,redis,service", "redis", ""])
def test_what_the_packages_say_they_need_is_all_there_and_no_tool_of_the_tests(
    script: dict[str, Any], extras: str
) -> None:
    chosen = [extra for extra in extras.split(",") if extra]
    wanted = script["asked_for"](ROOT / "pyproject.toml", chosen)
    found = set(names(script["pinned"]((ROOT / "requirements.lock").read_text(), wanted)))

    table = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = list(table["dependencies"])
    for extra in chosen:
        lines += table["optional-dependencies"][extra]
    expected = set()
    for line in lines:
        asked = Requirement(line)
        expected |= {asked.name, *needed_by(asked, set())}
    assert expected <= found
    assert not found & {"pytest", "moto", "locust", "mypy", "flask"}


def test_a_package_that_is_not_pinned_fails_the_build_with_its_name() -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, ROOT / "requirements.lock", "no-such-package"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 1
    assert "no-such-package is not pinned" in done.stderr


def test_an_extra_that_is_none_fails_the_build_with_those_there_are(script: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="no extra `embeded`; it has all, aws, embedded"):
        script["asked_for"](ROOT / "pyproject.toml", ["embeded"])
