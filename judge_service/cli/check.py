"""`judge check`: is everything there that judging needs? One line per area, one per problem."""

import argparse
import asyncio
import os
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal

from msgspec import Struct

from judge_service.cli.configuration import add_config_argument, config_place, read_settings
from judge_service.errors import CallError, RubricError, SettingsError
from judge_service.settings import Settings
from judge_service.wire import dump_json

HELP = "check settings, rubric, credentials, model access and quota"
EXAMPLES = """examples:
  judge check --config judge.toml
  judge check --json

Makes at most one judge call. Exits with 0 when judging can work, with 2 when it cannot.
"""

Opener = Callable[[Settings], AbstractAsyncContextManager[Any]]


class Finding(Struct, frozen=True):
    """One line of the check."""

    area: Literal["settings", "rubric", "judge", "quota"]
    level: Literal["ok", "warning", "problem"]
    text: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Prints what was found; 2 if any of it is a problem."""
    findings = find(arguments, _open_service)
    failed = any(finding.level == "problem" for finding in findings)
    if arguments.json:
        rows = [{"area": one.area, "level": one.level, "text": one.text} for one in findings]
        print(dump_json({"ok": not failed, "findings": rows}).decode())
    else:
        for one in findings:
            print(f"{one.level:<8} {one.area:<9} {one.text}")
    return 2 if failed else 0


def find(arguments: argparse.Namespace, opener: Opener) -> list[Finding]:
    """Everything there is to say; stops at the first area without which the next make no sense."""
    try:
        settings = read_settings(arguments)
    except SettingsError as problem:
        return [Finding("settings", "problem", str(problem))]
    source = config_place(arguments) or "the defaults"
    findings = [Finding("settings", "ok", f"from {source} and the environment")]
    return [*findings, *asyncio.run(_judge(settings, opener))]


async def _judge(settings: Settings, opener: Opener) -> list[Finding]:
    """Rubric, credentials and model access: what opening the service and its own check say."""
    try:
        async with opener(settings) as judge:
            rubric = judge.rubric
            names = ", ".join(criterion.name for criterion in rubric.criteria)
            findings = [Finding("rubric", "ok", f"{rubric.name} {rubric.version}: {names}")]
            quota = _quota(settings, judge)
            problems = await judge.check()
    except RubricError as problem:
        return [Finding("rubric", "problem", str(problem))]
    except (SettingsError, CallError) as problem:
        return [Finding("judge", "problem", str(problem))]
    if problems:
        findings += (Finding("judge", "problem", text) for text in problems)
    else:
        findings.append(Finding("judge", "ok", f"{_name(settings)} can be used"))
    return [*findings, quota]


def _quota(settings: Settings, judge: Any) -> Finding:
    if settings.grader:
        return Finding("quota", "ok", "a custom grader calls no judge")
    if settings.backend == "local":
        return Finding("quota", "ok", "the embedded judge has none")
    first, *_ = judge.expect().lines()
    return Finding("quota", "warning" if judge.expect().bound_by is None else "ok", first)


def _name(settings: Settings) -> str:
    return settings.grader or f"{settings.backend} {settings.model}".strip()


def _open_service(settings: Settings) -> AbstractAsyncContextManager[Any]:
    # the service brings every backend's imports with it, and `judge --help` needs none of them
    from judge_service.service import open_service  # noqa: PLC0415 - as said above

    return open_service(settings, environ=os.environ)
