"""`judge rubric render`: prints the exact prompt of each judge call."""

import argparse
import asyncio
import os
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import msgspec
from msgspec.structs import replace

from judge_service.cli.configuration import add_config_argument, config_path, read_settings
from judge_service.cli.rows import decode, open_rows
from judge_service.settings import Settings
from judge_service.values import Message, Prompt, Sample

HELP = "show the exact prompt of each judge call"

NO_SAMPLE = Sample(
    messages=(Message("user", "(the task)"),),
    response="(the response)",
    reference="(the reference)",
)
"""The sample used if no row is given."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a rubric file, or `similarity`")
    parser.add_argument(
        "--sample",
        metavar="JSON",
        help="a row of a known dialect, or a file whose first row is used",
    )
    parser.add_argument(
        "--answer",
        choices=("schema", "tool", "text"),
        help="form of the judge's answer (default: as configured)",
    )
    add_config_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints every prompt, without a judge call."""
    settings = with_rubric(read_settings(arguments), arguments.file)
    if arguments.answer:
        settings = replace(settings, answer=arguments.answer)
    sample = NO_SAMPLE
    if arguments.sample:
        with open_rows(arguments.sample, settings.wire.max_event_bytes) as rows:
            sample = decode(next(iter(rows)))
    opened = _open_judge(settings, is_configured=config_path(arguments) is not None)
    print("\n\n".join(asyncio.run(_pages(opened, sample))))
    return 0


def with_rubric(settings: Settings, name: str) -> Settings:
    """The settings with another rubric, and without a custom grader.

    A text of several lines would be read as the rubric itself; a file's name has one line.
    """
    return replace(settings, rubric=name.replace("\n", " "), grader="")


def _open_judge(settings: Settings, *, is_configured: bool) -> AbstractAsyncContextManager[Any]:
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import open_rehearsal, open_service  # noqa: PLC0415 - as said above

    if is_configured:
        return open_service(settings, environ=os.environ)
    return open_rehearsal(settings, {})


async def _pages(opened: AbstractAsyncContextManager[Any], sample: Sample) -> list[str]:
    async with opened as judge:
        prompts = judge.prompts(sample)
        if not prompts:
            return ["no judge is called: programs check every criterion"]
        return [
            "\n".join(_page(f"call {place} of {len(prompts)}", model, prompt))
            for place, (model, prompt) in enumerate(prompts, 1)
        ]


def _page(title: str, model: str, prompt: Prompt) -> Iterator[str]:
    names = ", ".join(criterion.name for criterion in prompt.question.criteria)
    yield f"{title}: {names}"
    yield f"model {model}, answer as {prompt.channel}, at most {prompt.max_output_tokens} output tokens"
    for message in prompt.messages:
        yield f"--- {message.role}"
        yield message.content
    if prompt.schema is not None:
        yield "--- schema of the answer"
        yield msgspec.json.format(msgspec.json.encode(prompt.schema), indent=2).decode()
