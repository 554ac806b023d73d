"""`judge rubric new`: writes a commented rubric as a starting point."""

import argparse
import re
from importlib.resources import files
from pathlib import Path

from judge_service.errors import SettingsError

HELP = "write a commented rubric as a starting point"

KINDS = ("judge", "verify", "mixed", "group")
NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", help="its name: small letters, digits and _")
    parser.add_argument(
        "--from",
        dest="kind",
        choices=KINDS,
        default="judge",
        help="what scores: a judge, programs, both, or a judge that compares a group (%(default)s)",
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="output file (default: NAME.toml)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Writes the file; it never overwrites one."""
    name = arguments.name
    if NAME.fullmatch(name) is None:
        raise SettingsError(
            f"`{name}` is not a valid name of a rubric; use small letters, digits and _, a letter first"
        )
    path = arguments.output or Path(f"{name}.toml")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(scaffold(arguments.kind, name))
    except FileExistsError:
        raise SettingsError(f"{path}: exists already; name another file with -o") from None
    except OSError as problem:
        raise SettingsError(f"{path}: cannot be written ({problem.strerror})") from None
    schema = path.with_name("rubric.schema.json")
    print(f"wrote {path}; edit it, then: judge rubric check {path}")
    print(f"an editor completes its keys after: judge rubric schema > {schema}")
    return 0


def scaffold(kind: str, name: str) -> str:
    """The text of a new rubric of one kind."""
    text = (files("judge_service.cli") / "scaffolds" / f"{kind}.toml").read_text("utf-8")
    return text.replace("NAME", name)
