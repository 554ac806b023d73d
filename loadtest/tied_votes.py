"""Groups of equal rewards, with one draw, with further draws for ties only, and with three draws for all.

    TEST_DATA=DIRECTORY python loadtest/tied_votes.py

GPT-4 has judged every answer of two sets three times (prometheus-eval: MT-Bench and Vicuna, 40 groups of four
answers each, whole numbers from 1 to 5). These verdicts are played back through the service, the three of an
answer in each of their six orders, so that no verdict counts as the first more often than another. A group
whose four rewards are all equal teaches a group-relative trainer nothing.
"""

import asyncio
import itertools
import json
import os
import random
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import at_most, report, sizes

from judge_service import Message, Sample, Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.settings import VoteSettings

DRAWS = 3
MOST_CALLS = 1.4
"""A sample, on average, where only ties are drawn again."""

SETS = ("mt_bench", "vicuna")
RUBRIC = """
name = "one_to_five"
[[criteria]]
name = "quality"
description = "How good is the answer?"
levels = [1, 2, 3, 4, 5]
"""

WAYS = {
    "one draw": VoteSettings(),
    "ties drawn again": VoteSettings(draws=DRAWS, when="tied"),
    "three draws": VoteSettings(draws=DRAWS),
}

Verdicts = Mapping[str, Sequence[int]]
"""By answer, what the judge said of it, draw by draw."""


def main() -> None:
    options = sizes(__doc__, orders=(6, 1))
    orders = list(itertools.permutations(range(DRAWS)))[: options.orders]
    sets = dict(_groups(smoke=options.smoke))
    together = [group for groups in sets.values() for group in groups]
    details = {
        name: asyncio.run(measured(groups, orders))
        for name, groups in [*sets.items(), ("together", together)]
    }
    tied, always = details["together"]["ties drawn again"], details["together"]["three draws"]
    figures = [
        at_most(
            "groups of equal rewards, ties drawn again (asked: as with three draws for all)",
            tied["flat_%"],
            always["flat_%"],
            "%",
        ),
        at_most("calls a sample, ties drawn again", tied["calls_a_sample"], MOST_CALLS),
    ]
    report("tied_votes", figures, details, smoke=options.smoke)


def _groups(*, smoke: bool) -> Iterator[tuple[str, list[Verdicts]]]:
    data = os.environ.get("TEST_DATA")
    if data:
        for name in SETS:
            yield name, list(recorded(Path(data) / "prometheus_eval" / f"{name}_eval.jsonl"))
    elif smoke:
        yield "invented", list(invented(40))
    else:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")


def recorded(path: Path) -> Iterator[Verdicts]:
    """The groups of a set: answers to one question."""
    groups: dict[Any, dict[str, Sequence[int]]] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        group = groups.setdefault(row["idx"], {})
        group[f"{row['idx']}/{row['response_source']}"] = row["gpt4_score"]
    yield from groups.values()


def invented(count: int) -> Iterator[Verdicts]:
    """Groups of a judge with noise."""
    chance = random.Random(7)
    for group in range(count):
        worth = [chance.uniform(2, 4) for _ in range(4)]
        yield {
            f"{group}/{place}": [
                min(5, max(1, round(chance.gauss(one, 0.7)))) for _ in range(DRAWS)
            ]
            for place, one in enumerate(worth)
        }


async def measured(
    groups: Sequence[Verdicts], orders: Sequence[Sequence[int]]
) -> dict[str, dict[str, float]]:
    """By way of voting, the share of groups whose rewards are all equal, and calls a sample."""
    found = {}
    for way, vote in WAYS.items():
        flat = calls = 0
        for order in orders:
            rewards, asked = await _judged(groups, order, vote)
            flat += sum(max(one) - min(one) < 1e-9 for one in rewards)
            calls += asked
        samples = sum(len(group) for group in groups) * len(orders)
        found[way] = {
            "flat_%": round(100 * flat / (len(groups) * len(orders)), 1),
            "calls_a_sample": round(calls / samples, 2),
        }
    return found


async def _judged(
    groups: Sequence[Verdicts], order: Sequence[int], vote: VoteSettings
) -> tuple[list[list[float]], int]:
    said = {answer: draws for group in groups for answer, draws in group.items()}
    judge = Scripted(
        lambda prompt: float(said[prompt.question.response][order[prompt.draw]]),
        channels=("text",),
    )
    samples = [
        Sample(
            messages=(Message("user", f"question {number}"),),
            response=answer,
            group_key=f"{number}",
        )
        for number, group in enumerate(groups)
        for answer in group
    ]
    settings = Settings(rubric=RUBRIC, temperature=1.0, vote=vote)
    async with open_service(settings, environ={}, model=judge) as service:
        rewards = iter(await service.score(samples))
    scores = [[_known(next(rewards).score) for _ in group] for group in groups]
    return scores, len(judge.prompts)


def _known(score: float | None) -> float:
    if score is None:
        raise RuntimeError("an answer was not judged; the figures would mean nothing")
    return score


if __name__ == "__main__":
    main()
