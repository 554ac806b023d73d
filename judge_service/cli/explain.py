"""`judge explain`: the layers that every judgement goes through, with their settings."""

import argparse
import asyncio
import os

from judge_service.cli.configuration import add_config_argument, read_settings
from judge_service.settings import Settings
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


def run(arguments: argparse.Namespace) -> int:
    """Prints the stacks."""
    stacks = asyncio.run(_explain(read_settings(arguments)))
    if arguments.json:
        print(
            dump_json({"stacks": [{"name": n, "layers": layers} for n, layers in stacks]}).decode()
        )
    else:
        print("\n\n".join(_page(name, layers) for name, layers in stacks))
    return 0


def _page(name: str, layers: list[str]) -> str:
    return "\n".join([name, *(f"  {layer}" for layer in layers)])


async def _explain(settings: Settings) -> Stacks:
    # the service brings every backend's imports with it, and `judge --help` needs none of them
    from judge_service.service import open_service  # noqa: PLC0415

    async with open_service(settings, environ=os.environ) as judge:
        return judge.explain()
