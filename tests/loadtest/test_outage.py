"""`loadtest/outage.py`: what it measures is what happens at the doors."""

import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

Script = Callable[[str], ModuleType]


def test_its_smoke_run_meets_every_figure_and_writes_nothing(
    script: Script, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    outage = script("outage")
    monkeypatch.setattr(sys, "argv", ["outage.py", "--smoke"])

    outage.main()

    told = capsys.readouterr().out
    assert told.count("  met  ") == 8
    assert "NOT MET" not in told
    assert "nothing was written" in told


@pytest.mark.parametrize("door", ["job", "judge score"])
def test_rows_that_an_outage_costs_are_counted(
    script: Script, monkeypatch: pytest.MonkeyPatch, door: str
) -> None:
    outage = script("outage")
    impatient = type("Impatient", (), {"__init__": lambda *_, **__: None})

    async def straight_on(_self: Any, request: Any, call_next: Any) -> Any:
        return await call_next(request)

    monkeypatch.setattr(impatient, "__call__", straight_on, raising=False)
    monkeypatch.setattr("judge_service.grading.outage.Outage", impatient)
    seen = outage.ride_out(outage.DOORS[door], outage.OUTAGES["a day without quota"], 700)

    assert seen.results == seen.rows
    assert seen.cost == seen.unjudged > 100
