"""`judge rubric schema`: prints the JSON Schema of rubric files."""

import argparse

import msgspec

from judge_service.wire import dump_json

HELP = "print the JSON Schema of a rubric file, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # no arguments


def run(arguments: argparse.Namespace) -> int:
    """Prints the schema. An editor finds it by `#:schema ./rubric.schema.json` in a rubric's first line."""
    del arguments
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import schema_of_rubrics  # noqa: PLC0415 - as said above

    print(msgspec.json.format(dump_json(schema_of_rubrics()), indent=2).decode())
    return 0
