"""`judge verify`: checks one answer with one verifier, and says how both sides were read."""

import argparse
import asyncio
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from judge_service.errors import SettingsError
from judge_service.values import Message, Sample
from judge_service.wire import dump_json

HELP = "check one answer with a verifier, and say how both sides were read"
EXAMPLES = r"""examples:
  judge verify math --response 'So \boxed{1/2}.' --reference 0.5
  judge verify number --response 'about 3.1' --reference 3 --set absolute_tolerance=0.2
  judge verify code --response - --row '{"tests": ["assert add(1, 2) == 3"]}' < answer.md
  judge verify choice --response 'B' --reference Rome --row '{"choices": ["Oslo", "Rome"]}' --json

The kinds and their options are in docs/verifiers.md. The exit code is 0 if the answer has a score, whatever
it is, and 3 if it has none.
"""
UNSCORED = 3
MAX_SHOWN = 400
"""Most characters of a text that are shown; with --json all are."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("kind", metavar="KIND", help="the kind of verifier, such as `math`")
    parser.add_argument(
        "--response", required=True, metavar="TEXT", help="the answer; `-` reads standard input"
    )
    parser.add_argument("--reference", metavar="TEXT", help="the reference answer")
    parser.add_argument("--prompt", metavar="TEXT", help="the prompt, for kinds that read it")
    parser.add_argument(
        "--row", default="{}", metavar="JSON", help="the row's other fields, such as `tests`"
    )
    parser.add_argument(
        "--options", default="{}", metavar="JSON", help="the criterion's options, as an object"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="one option; the value is JSON, else text. Repeatable, and wins over --options",
    )
    parser.add_argument("--json", action="store_true", help="as one JSON object")


def run(arguments: argparse.Namespace) -> int:
    """Prints the score and both sides. Returns 3 if there is no score, else 0."""
    # kinds of verifiers import heavy libraries, which `judge --help` does not need
    from judge_service.verifiers.reading import how_read  # noqa: PLC0415 - as said above

    options = {**_object(arguments.options, "--options"), **_options_set(arguments.set)}
    sample = _sample(arguments)
    check = asyncio.run(_check(arguments.kind, options, sample))
    reading = how_read(arguments.kind, options, sample)
    if arguments.json:
        both = {"answer": reading.answer, "reference": reading.reference}
        print(dump_json(msgspec.to_builtins({**msgspec.to_builtins(check), **both})).decode())
    else:
        print("\n".join(_lines(check, reading)))
    return UNSCORED if check.score is None else 0


async def _check(kind: str, options: Mapping[str, Any], sample: Sample) -> Any:
    from judge_service.verifiers import open_verifier  # noqa: PLC0415 - as in `run`

    verifier = open_verifier(kind, options)
    try:
        return await verifier(sample)
    finally:
        await verifier.aclose()


def _sample(arguments: argparse.Namespace) -> Sample:
    response = sys.stdin.read() if arguments.response == "-" else arguments.response
    messages = (Message("user", arguments.prompt),) if arguments.prompt else ()
    return Sample(
        response=response,
        reference=arguments.reference,
        messages=messages,
        metadata=_object(arguments.row, "--row"),
    )


def _object(text: str, argument: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as problem:
        raise SettingsError(
            f"{argument}: is no JSON object ({problem}); quote it for the shell"
        ) from None


def _options_set(pairs: list[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise SettingsError(f"--set: `{pair}` has no `=`; write KEY=VALUE")
        try:
            options[key] = msgspec.json.decode(value)
        except msgspec.MsgspecError:
            options[key] = value
    return options


def _lines(check: Any, reading: Any) -> list[str]:
    score = f"none ({check.reason})" if check.score is None else f"{check.score:g}"
    lines = [f"score      {score}", f"detail     {check.detail}"]
    for name, side in (("answer", reading.answer), ("reference", reading.reference)):
        if side.taken is None:
            lines.append(f"{name:<10} nothing ({side.found_by})")
            continue
        lines.append(f"{name:<10} {_shown(side.taken)}   ({side.found_by})")
        if side.read_as:
            lines.append(f"{'  read as':<10} {_shown(side.read_as)}")
    return lines


def _shown(text: str) -> str:
    """A text in one line without control characters, which could write to the terminal."""
    line = text.strip()[:MAX_SHOWN].replace("\n", " \u23ce ")
    safe = "".join(one if one.isprintable() else "\ufffd" for one in line)
    return safe + (" ..." if len(text.strip()) > MAX_SHOWN else "")
