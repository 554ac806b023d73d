"""Prints the summary of `judge score`: a page for people, or one JSON object for programs."""

import textwrap
from collections.abc import Iterator
from typing import Any

import msgspec

from judge_service.cli.summary import Spread, Summary
from judge_service.values import UNSCORED_REASONS
from judge_service.wire import dump_json

WIDTH = 80
BAR_CHARS = 40
MAX_EXAMPLE_CHARS = 300


def print_json(summary: Summary, *, written: bool) -> None:
    """Prints the summary as one JSON object."""
    print(dump_json({**msgspec.to_builtins(summary), "written": written}).decode())


def print_page(summary: Summary, *, written: bool) -> None:
    """Prints the summary as a page of at most 80 columns."""
    # rich takes 60 ms to import, and `judge --help` draws no tables
    from rich.console import Console  # noqa: PLC0415 - as said above

    console = Console(highlight=False, markup=False, soft_wrap=True)
    console.print(_criteria_table(summary), soft_wrap=False, width=WIDTH)
    full = "█" if console.encoding.startswith("utf") else "#"
    for line in [*_histogram(summary, full), *_facts(summary, written=written)]:
        console.print(line)


def _criteria_table(summary: Summary) -> Any:
    from rich import box  # noqa: PLC0415 - see print_page
    from rich.table import Table  # noqa: PLC0415 - see print_page

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("criterion", overflow="fold")
    for name in ("mean", "sd", "min", "max", "unscored"):
        table.add_column(name, justify="right", no_wrap=True)
    for spread in summary.criteria:
        table.add_row(*_cells(spread))
    table.add_row(*_cells(summary.reward))
    return table


def _cells(spread: Spread) -> list[str]:
    numbers = (spread.mean, spread.sd, spread.minimum, spread.maximum)
    shown = ["-" if number is None else f"{number:.3f}" for number in numbers]
    return [spread.name, *shown, f"{spread.unscored:,}"]


def _histogram(summary: Summary, full: str) -> Iterator[str]:
    yield "rewards from 0 to 1"
    most = max(*summary.histogram, 1)
    bins = len(summary.histogram)
    for index, count in enumerate(summary.histogram):
        chars = -(
            -count * BAR_CHARS // most
        )  # rounded up, so that a small count is never shown as none
        yield f"  {index / bins:.1f} - {(index + 1) / bins:.1f}  {full * chars:<{BAR_CHARS}} {count:>9,}"
    yield ""


def _facts(summary: Summary, *, written: bool) -> Iterator[str]:
    yield from _unscored(summary)
    yield from _groups(summary)
    yield f"judged     {_judged(summary)}"
    for reason, waited_s in summary.waited_s.items():
        why = UNSCORED_REASONS.get(reason, "unknown")
        yield from _wrapped(f"{waited_s:,.0f} s for the judge, {reason}: {why}", "waited     ")
    yield f"judge      {summary.judge}, rubric {summary.rubric}"
    yield f"calls      {summary.judge_calls:,} judge calls, {_tokens(summary)}"
    yield from _quota(summary)
    if written:
        scale = "" if summary.score_range == "0..1" else f" (scores in {summary.score_range})"
        yield f"rewards    {summary.output}{scale}"
    else:
        yield f"rewards    not written; the results so far are in {summary.journal}"


def _unscored(summary: Summary) -> Iterator[str]:
    yield f"unscored   {summary.unscored:,} of {summary.rows:,} rows"
    for reason, count in summary.unscored_reasons.items():
        sentence = UNSCORED_REASONS.get(reason, "unknown")
        yield from _wrapped(f"{reason}: {sentence}", first=f"{count:>9,}  ")
        if example := summary.unscored_examples.get(reason):
            yield from _wrapped(f"such as: {example}"[:MAX_EXAMPLE_CHARS])


def _wrapped(text: str, first: str = " " * 11) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=" " * 11)


def _groups(summary: Summary) -> Iterator[str]:
    if summary.groups:
        yield (
            f"groups     {summary.groups:,} prompts with several scored answers;"
            f" {summary.groups_without_variance:,} with no variance"
        )


def _judged(summary: Summary) -> str:
    now = (
        f"{summary.judged_now:,} rows in {summary.duration_s:,.1f} s"
        f" ({summary.evaluations_per_s:,.1f} evaluations/s)"
    )
    return f"{now}, {summary.kept:,} kept from before" if summary.kept else now


def _quota(summary: Summary) -> Iterator[str]:
    """The used share of the quota, and the share of calls that the judge refused; explains a slow run."""
    parts = [f"{share:.0%} of {name} used" for name, share in summary.quota_used.items()]
    if summary.calls_refused:
        share = summary.calls_refused / summary.calls_sent
        parts.append(f"{share:.1%} of {summary.calls_sent:,} calls refused by the judge")
    if parts:
        yield f"quota      {'; '.join(parts)}"


def _tokens(summary: Summary) -> str:
    cached = ""
    if summary.cache_read_tokens:
        share = summary.cache_read_tokens / summary.input_tokens
        cached = f" ({share:.0%} from the judge's prompt cache)"
    tokens = f"{summary.input_tokens:,} input{cached} + {summary.output_tokens:,} output tokens"
    return tokens if summary.cost_usd is None else f"{tokens}, {summary.cost_usd:,.4f} US dollars"
