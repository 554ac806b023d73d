"""Shows the progress of `judge score` on stderr: a bar on a terminal, else a line every 10 s."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from judge_service.values import UNSCORED_REASONS, Wait

LINE_EVERY_S = 10.0


class Progress(Protocol):
    """Shows progress. Its methods are called when results are on disk."""

    def skip(self, rows: int) -> None:
        """Counts rows that an earlier run judged."""

    def advance(self, rows: int, unscored: int) -> None:
        """Counts rows that this run judged, `unscored` of them without a score."""

    def wait(self, wait: Wait) -> None:
        """Shows that the run waits for the judge, still waits, or continues."""


class Silence:
    """For `--quiet`."""

    def skip(self, rows: int) -> None: ...

    def advance(self, rows: int, unscored: int) -> None: ...

    def wait(self, wait: Wait) -> None: ...


class Lines:
    """Prints one plain line every `LINE_EVERY_S` seconds, for logs."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._kept = self._judged = self._unscored = 0
        self._started = self._last = time.monotonic()
        self._is_waiting = False

    def __repr__(self) -> str:
        return f"Lines({self._kept + self._judged}/{self._total})"

    def skip(self, rows: int) -> None:
        self._kept += rows

    def advance(self, rows: int, unscored: int) -> None:
        self._judged += rows
        self._unscored += unscored
        now = time.monotonic()
        if now - self._last >= LINE_EVERY_S:
            self._last = now
            print(self._line(now), file=sys.stderr, flush=True)

    def wait(self, wait: Wait) -> None:
        now = time.monotonic()
        is_change = wait.is_over is self._is_waiting
        if is_change or now - self._last >= LINE_EVERY_S:
            self._is_waiting = not wait.is_over
            self._last = now
            print(wait_line(wait), file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        done = self._kept + self._judged
        per_s = self._judged / max(now - self._started, 1e-9)
        left_s = left(self._total - done, per_s)
        return (
            f"{done:,}/{self._total:,} rows, {per_s:,.1f} evaluations/s,"
            f" {self._unscored:,} unscored, about {left_s:,.0f} s left"
        )


def left(rows: int, per_s: float) -> float:
    """Seconds until the run ends. per_s: of the rows that this run judges, without those kept from before."""
    return rows / per_s if per_s else 0.0


def wait_line(wait: Wait) -> str:
    """The log line about a wait."""
    if wait.is_over:
        return f"the judge answers again after {wait.waited_s:,.0f} s, the run continues"
    why = wait.detail or UNSCORED_REASONS.get(wait.reason, "")
    return (
        f"waiting for the judge for {wait.waited_s:,.0f} s, no row is lost; it is {_asked(wait)}"
        f" ({wait.reason}: {why}); Ctrl-C keeps the rows judged so far"
    )


def _asked(wait: Wait) -> str:
    return f"asked again in {wait.next_s:,.0f} s" if wait.next_s else "being asked again"


class Bar:
    """A progress bar by rich. It moves when results are on disk."""

    def __init__(self, bar: Any, total: int) -> None:
        self._bar = bar
        self._total = total
        self._kept = self._judged = self._unscored = 0
        self._started = time.monotonic()
        self._task = bar.add_task("judging", total=total, rate="", unscored="0 unscored", left="")

    def __repr__(self) -> str:
        return f"Bar(judged={self._judged})"

    def skip(self, rows: int) -> None:
        self._kept += rows
        self._bar.advance(self._task, rows)

    def advance(self, rows: int, unscored: int) -> None:
        self._judged += rows
        self._unscored += unscored
        per_s = self._judged / max(time.monotonic() - self._started, 1e-9)
        minutes, seconds = divmod(round(left(self._total - self._kept - self._judged, per_s)), 60)
        self._bar.update(
            self._task,
            advance=rows,
            left=f"{minutes:02}:{seconds:02} left",
            rate=f"{per_s:,.0f}/s",
            unscored=f"{self._unscored:,} unscored",
        )

    def wait(self, wait: Wait) -> None:
        waiting = f"waiting ({wait.reason}), {_asked(wait)}"
        self._bar.update(self._task, description="judging" if wait.is_over else waiting)


@contextmanager
def show_progress(total: int, *, quiet: bool) -> Iterator[Progress]:
    """Shows progress while the context manager is open."""
    if quiet:
        yield Silence()
    elif sys.stderr.isatty():
        with _rich_bar() as bar:
            yield Bar(bar, total)
    else:
        yield Lines(total)


def _rich_bar() -> Any:
    # rich takes 60 ms to import and is needed on a terminal only
    from rich import progress  # noqa: PLC0415 - as said above
    from rich.console import Console  # noqa: PLC0415 - as said above

    return progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(bar_width=None),
        progress.MofNCompleteColumn(),
        progress.TextColumn("{task.fields[rate]}"),
        progress.TextColumn("{task.fields[unscored]}"),
        progress.TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        refresh_per_second=4,
    )
