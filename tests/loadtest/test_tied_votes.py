"""`tied_votes.py`: its smoke run, and, where the data is, the figure of `vote.when = "tied"`."""

import asyncio
import itertools
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

DATA = os.environ.get("TEST_DATA", "")

Script = Callable[[str], ModuleType]


def test_a_smoke_run_needs_no_data(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TEST_DATA", raising=False)
    monkeypatch.setattr(sys, "argv", ["tied_votes.py", "--smoke"])
    script("tied_votes").main()
    said = capsys.readouterr().out
    assert "NOT MET" not in said
    assert "nothing was written" in said


def test_ties_are_broken_with_fewer_calls_than_three_draws_for_all(script: Script) -> None:
    groups = [{"a": [3, 4, 3], "b": [3, 3, 3]}, {"c": [1, 5, 5], "d": [5, 1, 1]}]
    found = asyncio.run(script("tied_votes").measured(groups, [(0, 1, 2)]))
    assert found["one draw"] == {"flat_%": 50.0, "calls_a_sample": 1.0}
    assert found["ties drawn again"] == {"flat_%": 0.0, "calls_a_sample": 1.5}
    assert found["three draws"] == {"flat_%": 0.0, "calls_a_sample": 3.0}


@pytest.mark.skipif(not DATA, reason="TEST_DATA is not set")
def test_the_recorded_judges_groups_are_as_uneven_as_with_three_draws_for_all(
    script: Script,
) -> None:
    votes = script("tied_votes")
    folder = Path(DATA) / "prometheus_eval"
    groups = [one for name in votes.SETS for one in votes.recorded(folder / f"{name}_eval.jsonl")]
    found = asyncio.run(votes.measured(groups, list(itertools.permutations(range(3)))))
    assert found["ties drawn again"]["flat_%"] <= found["three draws"]["flat_%"]
    assert found["ties drawn again"]["calls_a_sample"] <= votes.MOST_CALLS
