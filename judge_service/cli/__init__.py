"""The command line: `judge score | verify | explain | check | rubric | serve | keys | simulate | package`."""

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, Protocol

from judge_service.cli import check, explain, keys, package, rubric, score, serve, simulate, verify
from judge_service.errors import (
    CredentialsError,
    JudgeOut,
    JudgeServiceError,
    SettingsError,
    TooManyUnscored,
    WireError,
)

EXIT_CODES = """exit codes:
  0    ok
  1    unexpected error (--debug shows the trace)
  2    a mistake in the settings, the rubric, the credentials or the input
  3    too many rows could not be judged; the output is not written
  4    the judge could not be asked for longer than --max-wait-s
  130  interrupted
"""
STATUS = {CredentialsError: 2, SettingsError: 2, WireError: 2, TooManyUnscored: 3, JudgeOut: 4}
INTERRUPTED = 130


class Command(Protocol):
    """A module of this package that implements a command."""

    HELP: str
    EXAMPLES: str

    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def run(self, arguments: argparse.Namespace) -> int: ...


COMMANDS: dict[str, Command] = {
    "score": score,
    "verify": verify,
    "explain": explain,
    "check": check,
    "rubric": rubric,
    "serve": serve,
    "keys": keys,
    "simulate": simulate,
    "package": package,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code, see `EXIT_CODES`."""
    parsed = _parser().parse_args(arguments)
    try:
        command: Command = parsed.command
        return command.run(parsed)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # the reader has gone; without this the interpreter's last flush would print an error on stderr
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the end of the program: every error becomes a sentence
        if parsed.debug:
            traceback.print_exc()
        print(f"judge: {_sentence(error)}", file=sys.stderr)
        return _status(error)


def _sentence(error: Exception) -> str:
    if isinstance(error, JudgeServiceError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (run again with --debug for the trace)"


def _status(error: Exception) -> int:
    return next((code for kind, code in STATUS.items() if isinstance(error, kind)), 1)


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - takes 30 ms

        print(f"judge {version('judge-service')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="judge",
        description="Rewards for RL fine-tuning, judged by a model.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        one = commands.add_parser(
            name,
            help=command.HELP,
            description=command.HELP,
            epilog=f"{command.EXAMPLES}\n{EXIT_CODES}",
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_argument("--debug", action="store_true", help="show the trace of an error")
        command.add_arguments(one)
        one.set_defaults(command=command)
    return parser
