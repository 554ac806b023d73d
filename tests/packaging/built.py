"""The package of this machine's Python, built once per run for all tests that look into it."""

import os
import platform
import tempfile
from functools import cache
from pathlib import Path

import pytest

from judge_service.errors import JudgeServiceError
from judge_service.packaging.inputs import inputs_of
from judge_service.packaging.package import Package, build
from judge_service.packaging.target import MACHINES, Target
from judge_service.settings import load_settings

PYTHON = ".".join(platform.python_version_tuple()[:2])
HERE = Target(python=PYTHON, architecture={m: a for a, m in MACHINES.items()}[platform.machine()])


EXAMPLES = Path(__file__).parents[2] / "examples"
CONFIG = EXAMPLES / "judge.toml"
"""Bedrock with a rubric of four criteria, which the function gets inside its package."""

_keeper = tempfile.TemporaryDirectory(prefix="judge-package-")  # as long as the process
FOLDER = Path(_keeper.name)
WHEELS = FOLDER / "wheels"


def build_example(archive: Path) -> Package:
    """The example's package for this machine's Python."""
    settings = load_settings(CONFIG)
    inputs = inputs_of(CONFIG, settings, [])
    return build(archive, "lambda", HERE, settings, inputs, cache=WHEELS)


@cache
def package() -> Package:
    """It, once; the test is skipped where no index is in reach, but never in CI."""
    try:
        return build_example(FOLDER / "judge.zip")
    except JudgeServiceError as problem:
        if "pip" in str(problem) and not os.environ.get("CI"):
            pytest.skip(str(problem))
        raise
