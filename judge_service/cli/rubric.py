"""`judge rubric`: writes, checks, tries and shows rubrics, and prints their schema."""

import argparse
from typing import Protocol

from judge_service.cli import rubric_check, rubric_new, rubric_render, rubric_schema

HELP = "write, explain, try and show rubrics"
EXAMPLES = """examples:
  judge rubric new support_tone --from mixed
  judge rubric check support_tone.toml
  judge rubric check support_tone.toml --examples rollouts.jsonl --expect
  judge rubric render support_tone.toml --sample row.json
  judge rubric schema > rubric.schema.json
"""


class Action(Protocol):
    """A module of this package that implements an action on rubrics."""

    HELP: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


ACTIONS: dict[str, Action] = {
    "new": rubric_new,
    "check": rubric_check,
    "render": rubric_render,
    "schema": rubric_schema,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    for name, action in ACTIONS.items():
        one = actions.add_parser(name, help=action.HELP, description=action.HELP)
        action.add_arguments(one)
        one.set_defaults(action=action)


def run(arguments: argparse.Namespace) -> int:
    """Runs the action."""
    action: Action = arguments.action
    return action.run(arguments)
