"""Loads modules of `loadtest/`, which is not a package: they import each other by name."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

LOADTEST = Path(__file__).parent.parent.parent / "loadtest"


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports one by its name; all of them are forgotten after the test."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(LOADTEST))
    yield importlib.import_module
    for name in {path.stem for path in LOADTEST.glob("*.py")} - before:
        sys.modules.pop(name, None)
