"""`judge explain`: prints the layers of the assembled stacks with their settings."""

import argparse
import asyncio
import os
from typing import Any

import msgspec

from judge_service.cli.configuration import add_config_argument, read_settings
from judge_service.settings import Settings, workers_share
from judge_service.wire import dump_json

HELP = "show the assembled stacks with their settings"
EXAMPLES = """examples:
  judge explain --config judge.toml
  judge explain --json

Read each stack top-down: the first layer sees a sample or a prompt first.
"""

Stacks = list[tuple[str, list[str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config_argument(parser)
    parser.add_argument("--json", action="store_true", help="as one JSON object")
    parser.add_argument(
        "--text-tokens",
        type=int,
        default=300,
        metavar="N",
        help="tokens of a response and its reference, for the expected rate (%(default)s)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Prints the stacks, and the rate that the configured quota allows."""
    stacks, expected = asyncio.run(_explain(read_settings(arguments), arguments.text_tokens))
    if arguments.json:
        layers = [{"name": name, "layers": layers} for name, layers in stacks]
        print(dump_json({"stacks": layers, "expected": msgspec.to_builtins(expected)}).decode())
    else:
        title = "expected (steady, in the long run)"
        pages = [*stacks, (title, expected.lines())]
        print("\n\n".join(_page(name, lines) for name, lines in pages))
    return 0


def _page(name: str, layers: list[str]) -> str:
    return "\n".join([name, *(f"  {layer}" for layer in layers)])


async def _explain(settings: Settings, text_tokens: int) -> tuple[Stacks, Any]:
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import open_service  # noqa: PLC0415 - as said above

    async with open_service(settings, environ=os.environ) as judge:
        return [*_of_workers(settings), *judge.explain()], judge.expect(text_tokens=text_tokens)


def _of_workers(settings: Settings) -> Stacks:
    """The layers of a service with several workers that this process does not have."""
    if not workers_share(settings):
        return []
    return [("service", [f"{settings.service.workers} workers share the quota through a file"])]
