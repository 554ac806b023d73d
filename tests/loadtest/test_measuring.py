"""Results of benchmarks: figures that meet or miss their target."""

import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent.parent
LOADTEST = ROOT / "loadtest"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, LOADTEST / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def measuring(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = load("measuring")
    monkeypatch.setitem(sys.modules, "measuring", module)
    return module


def test_a_figure_is_met_at_its_bound_and_not_beyond(measuring: ModuleType) -> None:
    assert measuring.at_most("wait", 3.0, 3.0)["met"] is True
    assert measuring.at_most("wait", 3.0001, 3.0)["met"] is False
    assert measuring.at_least("used", 99.0, 99.0)["met"] is True
    assert measuring.at_least("used", 98.9999, 99.0)["met"] is False


def test_a_figure_that_is_no_number_is_not_met(measuring: ModuleType) -> None:
    assert measuring.at_most("wait", float("nan"), 3.0)["met"] is False


def test_a_figure_that_is_not_met_says_so(measuring: ModuleType) -> None:
    assert "NOT MET" in measuring.line(measuring.at_most("wait", 3.1, 3.0, "s"))


def test_a_smoke_run_writes_nothing_and_a_full_one_its_environment(
    measuring: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "RESULTS", tmp_path)
    figures = [measuring.at_most("wait", 1.0, 3.0, "s")]

    measuring.report("wait", figures, {}, smoke=True)
    assert list(tmp_path.iterdir()) == []

    measuring.report("wait", figures, {}, smoke=False)
    written = json.loads((tmp_path / "wait.json").read_text())
    assert written["figures"] == figures
    assert written["environment"]["python"]


@pytest.mark.parametrize(
    ("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0.1, 1)]
)
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(
    measuring: ModuleType, percent: float, expected: int
) -> None:
    assert measuring.percentile(range(100, 0, -1), percent) == expected


def test_no_two_samples_are_alike(measuring: ModuleType) -> None:
    responses = {measuring.sample(number).response for number in range(1000)}

    assert len(responses) == 1000


def test_every_benchmark_that_make_bench_runs_is_there_and_documented(
    measuring: ModuleType,
) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()

    for name in (*load("bench").NAMES, "soak"):
        assert (LOADTEST / f"{name}.py").exists()
        assert f"<!-- figures:{name} -->" in page
