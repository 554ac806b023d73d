"""`judge check`: checks settings, rubric, judge, stores and quota by scoring a sample."""

import argparse
import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import islice
from typing import Any

from judge_service.cli.check_report import Finding, findings_of, trial_record
from judge_service.cli.configuration import add_config_argument, config_place, read_settings
from judge_service.cli.rows import decode, open_rows
from judge_service.errors import CallError, RubricError, SettingsError, WireError
from judge_service.settings import Settings
from judge_service.telemetry.events import Event, Sink
from judge_service.values import Sample
from judge_service.wire import dump_json

HELP = "check settings, rubric, judge, stores and quota by scoring one sample"
EXAMPLES = """examples:
  judge check --config judge.toml
  judge check --config judge.toml --sample rollouts.jsonl
  judge check --json

Scores one sample in the same way as `judge score`: with the rubric's prompt, its channel, its parameters,
and every opinion of a vote. It costs those calls. If one call judges several samples (`pack`,
`compare = "group"`), it scores two. The exit code is 0 if judging works, else 2.
"""

MAX_SAMPLES = 2
"""Most rows of a file that a check uses."""

Opener = Callable[[Settings, Sink], AbstractAsyncContextManager[Any]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument(
        "--sample",
        metavar="FILE",
        help="score the first row of this file (JSONL or JSON, any dialect) instead of the built-in sample",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Prints the findings. Returns 2 if one of them is a problem, else 0."""
    findings, record = find(arguments, _open_service)
    failed = any(finding.level == "problem" for finding in findings)
    if arguments.json:
        rows = [{"area": one.area, "level": one.level, "text": one.text} for one in findings]
        print(dump_json({"ok": not failed, "findings": rows, "trial": record}).decode())
    else:
        for one in findings:
            print(f"{one.level:<8} {one.area:<9} {one.text}")
    return 2 if failed else 0


def find(
    arguments: argparse.Namespace, opener: Opener
) -> tuple[list[Finding], dict[str, Any] | None]:
    """All findings, and the trial as a record; stops at the first failed area on which the others depend."""
    try:
        settings = read_settings(arguments)
    except SettingsError as problem:
        return [Finding("settings", "problem", str(problem))], None
    source = config_place(arguments) or "the defaults"
    findings = [Finding("settings", "ok", f"from {source} and the environment")]
    try:
        samples = _samples(arguments.sample, settings) if arguments.sample else ()
    except WireError as problem:
        return [*findings, Finding("sample", "problem", f"{arguments.sample}: {problem}")], None
    more, record = asyncio.run(try_judge(settings, samples, opener))
    return [*findings, *more], record


def _samples(file: str, settings: Settings) -> tuple[Sample, ...]:
    """The first rows of a file. Raises WireError for a row that cannot be read, or if there is none."""
    with open_rows(file, settings.wire.max_event_bytes) as rows:
        found = tuple(decode(row) for row in islice(rows, MAX_SAMPLES))
    if not found:
        raise WireError("$", "has no row; name a file with a rollout")
    return found


async def try_judge(
    settings: Settings, samples: Sequence[Sample], opener: Opener
) -> tuple[list[Finding], dict[str, Any] | None]:
    """Findings about rubric, judge, stores and quota, from opening the service and scoring a sample."""
    events: list[Event] = []
    try:
        async with opener(settings, events.append) as judge:
            rubric = judge.rubric
            names = ", ".join(criterion.name for criterion in rubric.criteria)
            findings = [Finding("rubric", "ok", f"{rubric.name} {rubric.version}: {names}")]
            quota = _quota(settings, judge)
            trial = await judge.try_out(samples)
    except RubricError as problem:
        return [Finding("rubric", "problem", str(problem))], None
    except (SettingsError, CallError) as problem:
        return [Finding("judge", "problem", str(problem))], None
    findings += findings_of(trial, events, who=_name(settings))
    return [*findings, *quota], trial_record(trial)


def _quota(settings: Settings, judge: Any) -> Iterator[Finding]:
    if settings.grader:
        yield Finding("quota", "ok", "a custom grader calls no judge")
    elif settings.backend == "local" and not settings.limits.quota():
        yield Finding("quota", "ok", "the embedded judge has none")
    else:
        first, *_ = judge.expect().lines()
        yield Finding("quota", "warning" if judge.expect().bound_by is None else "ok", first)


def _name(settings: Settings) -> str:
    return settings.grader or f"{settings.backend} {settings.model}".strip()


def _open_service(settings: Settings, sink: Sink) -> AbstractAsyncContextManager[Any]:
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import open_service  # noqa: PLC0415 - as said above

    return open_service(settings, environ=os.environ, sink=sink)
