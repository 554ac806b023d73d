"""`judge rubric check`: describes a rubric in sentences, and scores examples with it."""

import argparse
import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from itertools import combinations, islice
from typing import Any

from msgspec import Struct

from judge_service.cli.configuration import add_config_argument, read_settings
from judge_service.cli.rows import decode, open_rows
from judge_service.cli.rubric_render import NO_SAMPLE, with_rubric
from judge_service.errors import WireError
from judge_service.settings import Settings
from judge_service.values import Reward, Sample

HELP = "describe a rubric, and try it on examples"

MAX_EXAMPLES = 200
"""Most examples of a trial; `judge score` is for more."""

MAX_SHOWN = 10
"""Most pairs in the wrong order that are named; the others are counted."""

SCRIPT = "scripted"
"""The field of a row with the scripted judge's answers."""


class Example(Struct, frozen=True):
    """A row, its place in the file, and the expected rank of its reward: 1 is the best."""

    place: str
    sample: Sample
    rank: float | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a rubric file, or `similarity`")
    parser.add_argument(
        "--examples",
        metavar="ROWS",
        help=f"rollouts to try it on, JSONL; the first {MAX_EXAMPLES} are scored",
    )
    parser.add_argument(
        "--expect",
        nargs="?",
        const="expected_rank",
        metavar="FIELD",
        help="the rows' field with their expected rank, 1 for the best (%(const)s); equal ranks may come"
        " in any order",
    )
    parser.add_argument(
        "--judge",
        choices=("scripted", "configured"),
        default="scripted",
        help=f"judge of the examples: the field `{SCRIPT}` of each row, with a number for each"
        " criterion on its scale, by default the middle; or the configured judge (%(default)s)",
    )
    add_config_argument(parser)


SCRIPTED = (
    f"judge    scripted: a judged criterion gets the number in the row's `{SCRIPT}`, or else the middle of"
    " its scale; --judge configured asks your judge"
)


def run(arguments: argparse.Namespace) -> int:
    """Prints the description and the scores. Returns 2 if examples are not in the expected order."""
    settings = with_rubric(read_settings(arguments), arguments.file)
    examples: list[Example] = []
    if arguments.examples:
        with open_rows(arguments.examples, settings.wire.max_event_bytes) as rows:
            read = islice(rows, MAX_EXAMPLES)
            examples = [_example(row.place, decode(row), arguments.expect) for row in read]
    configured = arguments.judge == "configured"
    opened = _open_judge(settings, examples, configured=configured)
    words, rewards = asyncio.run(_try_out(opened, examples, scripted=not configured))
    print("\n".join([*words, *_table(examples, rewards)]))
    if not (examples and arguments.expect):
        return 0
    wrong, pairs = _misplaced(examples, rewards)
    print("\n".join(_order(wrong, pairs, arguments.expect)))
    return 2 if wrong or not pairs else 0


def _example(place: str, sample: Sample, field: str | None) -> Example:
    if field is None:
        return Example(place, sample, None)
    rank = sample.metadata.get(field)
    if isinstance(rank, bool) or not isinstance(rank, int | float):
        raise WireError(
            place, f"the field `{field}` is not a number; give each row its rank, 1 the best"
        )
    return Example(place, sample, float(rank))


def _open_judge(
    settings: Settings, examples: Sequence[Example], *, configured: bool
) -> AbstractAsyncContextManager[Any]:
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import open_rehearsal, open_service  # noqa: PLC0415 - as said above

    if configured:
        return open_service(settings, environ=os.environ)
    return open_rehearsal(settings, _scripts(examples))


def _scripts(examples: Sequence[Example]) -> dict[str, Mapping[str, float]]:
    """The scripted judge's answers, by the text of the response, which alone selects the answer."""
    scripts: dict[str, Mapping[str, float]] = {}
    for example in examples:
        response, script = example.sample.response or "", _script(example)
        if scripts.setdefault(response, script) != script:
            raise WireError(
                example.place,
                f"`{SCRIPT}` differs from that of an earlier row with the same response; change one response",
            )
    return scripts


def _script(example: Example) -> Mapping[str, float]:
    script = example.sample.metadata.get(SCRIPT, {})
    is_numbers = isinstance(script, Mapping) and all(
        isinstance(score, int | float) and not isinstance(score, bool) for score in script.values()
    )
    if not is_numbers:
        raise WireError(
            example.place, f'the field `{SCRIPT}` must hold numbers, such as {{"correct": 3}}'
        )
    return {name: float(score) for name, score in script.items()}


async def _try_out(
    opened: AbstractAsyncContextManager[Any], examples: Sequence[Example], *, scripted: bool
) -> tuple[list[str], list[Reward]]:
    async with opened as judge:
        rubric = judge.rubric
        lines, advice = judge.describe()
        words = [
            f"ok       {rubric.name} {rubric.version}",
            *(f"         {line}" for line in lines),
            *(f"call     {line}" for line in _calls(judge)),
            *(f"advice   {line}" for line in advice),
        ]
        if scripted and examples and judge.prompts(NO_SAMPLE):
            words.append(SCRIPTED)
        return words, await judge.score([example.sample for example in examples])


def _calls(judge: Any) -> Iterator[str]:
    prompts = judge.prompts(NO_SAMPLE)
    for model, prompt in prompts:
        names = ", ".join(criterion.name for criterion in prompt.question.criteria)
        chars = sum(len(message.content) for message in prompt.messages)
        yield (
            f"{names}: {model}, {chars:,} characters around the sample,"
            f" at most {prompt.max_output_tokens} output tokens"
        )
    if not prompts:
        yield "none: programs check every criterion"


def _table(examples: Sequence[Example], rewards: Sequence[Reward]) -> Iterator[str]:
    for example, reward in zip(examples, rewards, strict=True):
        parts = ", ".join(f"{part.name} {_number(part.score)}" for part in reward.parts)
        why = "" if reward.reason is None else f" ({reward.reason}: {reward.detail})"
        yield f"{_number(reward.score):<8} {example.place}: {parts}{why}"


def _number(score: float | None) -> str:
    return "-" if score is None else f"{score:.3f}"


def _misplaced(examples: Sequence[Example], rewards: Sequence[Reward]) -> tuple[list[str], int]:
    """The pairs whose rewards contradict their ranks, and the number of pairs with different ranks."""
    wrong, pairs = [], 0
    rows = list(zip(examples, rewards, strict=True))
    for one, other in combinations(rows, 2):
        if one[0].rank == other[0].rank:
            continue
        pairs += 1
        better, worse = sorted((one, other), key=lambda row: row[0].rank or 0.0)
        if not _is_above(better[1].score, worse[1].score):
            wrong.append(
                f"{better[0].place} ({_number(better[1].score)}) should be above"
                f" {worse[0].place} ({_number(worse[1].score)})"
            )
    return wrong, pairs


def _is_above(better: float | None, worse: float | None) -> bool:
    return better is not None and worse is not None and better > worse


def _order(wrong: Sequence[str], pairs: int, field: str) -> Iterator[str]:
    if not pairs:
        yield f"problem  no two rows differ in `{field}`"
        return
    level = "problem" if wrong else "ok"
    yield f"{level:<8} {pairs - len(wrong):,} of {pairs:,} pairs are in the order of `{field}`"
    yield from (f"         {line}" for line in wrong[:MAX_SHOWN])
    if len(wrong) > MAX_SHOWN:
        yield f"         and {len(wrong) - MAX_SHOWN:,} more"
