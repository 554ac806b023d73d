"""The time that is left is computed from the rows that this run judges."""

import pytest

from judge_service.cli import progress
from judge_service.cli.progress import Bar, Lines, _rich_bar


class Clock:
    """A clock that a test sets."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_rows_that_are_kept_do_not_make_a_resumed_run_look_fast(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    rich = _rich_bar()
    both = Bar(rich, 1_000), Lines(1_000)
    for shown in both:
        shown.skip(600)
    clock.now = 20.0
    for shown in both:
        shown.advance(100, 0)  # 5/s, and 300 rows are left

    assert rich.tasks[-1].fields["left"] == "01:00 left"
    assert rich.tasks[-1].completed == 700
    assert "about 60 s left" in capsys.readouterr().err
