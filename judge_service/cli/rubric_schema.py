"""`judge rubric schema`: the JSON Schema of a rubric file."""

import argparse

import msgspec

from judge_service.wire import dump_json

HELP = "print the JSON Schema of a rubric file, for editors"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    del parser  # it takes none


def run(arguments: argparse.Namespace) -> int:
    """Prints it; an editor finds it through `#:schema ./rubric.schema.json` on a rubric's first line."""
    del arguments
    # the service brings every backend's imports with it, and `judge --help` needs none of them
    from judge_service.service import schema_of_rubrics  # noqa: PLC0415 - as said above

    print(msgspec.json.format(dump_json(schema_of_rubrics()), indent=2).decode())
    return 0
