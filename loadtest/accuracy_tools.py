"""Measures the `tool_calls` verifier on BFCL: accepted gold calls in three notations, rejected mutated ones.

    TEST_DATA=DIRECTORY python loadtest/accuracy_tools.py [--rows 1000]

A gold call has a random allowed value for each argument. A mutated row has a wrong name, or one
argument that is missing, extra or wrong, or one call that is missing or made twice.
A score of 1 counts as accepted. Every mistake is listed by the row's id.
"""

import asyncio
import copy
import json
import os
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from measuring import at_least, cpu_s, report, say, sizes
from msgspec import Struct

from judge_service import Sample
from judge_service.verifiers import open_verifier

ACCEPTED_PERCENT = REJECTED_PERCENT = 99.0
KINDS = ("simple_python", "multiple", "parallel")

Calls = list[dict[str, Any]]


class Row(Struct, frozen=True):
    """A response and the expected calls, as BFCL writes them."""

    id: str
    kind: str
    response: str
    gold: str
    right: bool


def main() -> None:
    options = sizes(__doc__, rows=(1000, 5), seed=(1, 1))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    rows = list(rows_of(Path(data), options.rows, random.Random(options.seed)))
    scores, spent_s = asyncio.run(judged(rows))
    seen = counted(rows, scores)
    figures = [
        at_least("gold accepted", seen["accepted_%"], ACCEPTED_PERCENT, "%"),
        at_least("mutated rejected", seen["rejected_%"], REJECTED_PERCENT, "%"),
    ]
    details = {**seen, "seed": options.seed, "rows_per_cpu_s": round(len(rows) / spent_s)}
    report("accuracy_tools", figures, details, smoke=options.smoke)


def rows_of(data: Path, most: int, dice: random.Random) -> Iterator[Row]:
    for kind in KINDS:
        lines = (data / "bfcl" / f"answer_{kind}.jsonl").read_text().splitlines()
        for line in lines[:most]:
            row = json.loads(line)
            gold = json.dumps(row["ground_truth"])
            calls = chosen(row["ground_truth"], dice)
            for notation, write in NOTATIONS.items():
                yield Row(row["id"], notation, write(calls), gold, right=True)
            for mutation, mutate in MUTATIONS.items():
                wrong = copy.deepcopy(calls)
                if mutate(wrong, dice):
                    yield Row(row["id"], mutation, as_json(wrong), gold, right=False)


# Gold


def chosen(ground_truth: Calls, dice: random.Random) -> Calls:
    """Calls with an allowed value for each argument; an optional argument is omitted half of the time."""

    def choose(value: Any) -> Any:
        if isinstance(value, dict):
            picked = {name: dice.choice(allowed) for name, allowed in value.items()}
            return {name: choose(one) for name, one in picked.items() if one != ""}
        return [choose(one) for one in value] if isinstance(value, list) else value

    return [
        {"name": name, "arguments": choose(arguments)}
        for call in ground_truth
        for name, arguments in call.items()
    ]


def as_json(calls: Calls) -> str:
    return json.dumps(calls)


def as_openai(calls: Calls) -> str:
    wrapped = [
        {
            "id": f"call_{place}",
            "type": "function",
            "function": {"name": call["name"], "arguments": json.dumps(call["arguments"])},
        }
        for place, call in enumerate(calls)
    ]
    return f"I call the tools.\n{json.dumps(wrapped)}"


def as_python(calls: Calls) -> str:
    written = (
        f"{call['name']}({', '.join(f'{name}={value!r}' for name, value in call['arguments'].items())})"
        for call in calls
    )
    return f"[{', '.join(written)}]"


NOTATIONS: Mapping[str, Callable[[Calls], str]] = {
    "json": as_json,
    "openai": as_openai,
    "python": as_python,
}


# Mutations: each changes one thing and says whether there was something to change


def wrong_name(calls: Calls, dice: random.Random) -> bool:
    dice.choice(calls)["name"] += "_other"
    return True


def missing_argument(calls: Calls, dice: random.Random) -> bool:
    arguments = dice.choice(calls)["arguments"]
    if arguments:
        del arguments[next(iter(arguments))]  # BFCL names the required ones first
    return bool(arguments)


def extra_argument(calls: Calls, dice: random.Random) -> bool:
    dice.choice(calls)["arguments"]["unheard_of"] = 1
    return True


def wrong_argument(calls: Calls, dice: random.Random) -> bool:
    arguments = dice.choice(calls)["arguments"]
    if not arguments:
        return False
    name = dice.choice(list(arguments))
    arguments[name] = altered(arguments[name])
    return True


def altered(value: Any) -> Any:
    """Another value, of the same type where that has more than two."""
    match value:
        case int() | float() if not isinstance(value, bool):
            return value + 1_000_003
        case str():
            return f"{value} otherwise"
        case list():
            return [*value, *(value[:1] or ["more"])]
        case dict():
            return {**value, "unheard_of": 1}
    return "otherwise"


def missing_call(calls: Calls, dice: random.Random) -> bool:
    calls.pop(dice.randrange(len(calls)))
    return bool(calls)


def call_made_twice(calls: Calls, dice: random.Random) -> bool:
    calls.append(dice.choice(calls))
    return True


MUTATIONS: Mapping[str, Callable[[Calls, random.Random], bool]] = {
    "wrong name": wrong_name,
    "missing argument": missing_argument,
    "extra argument": extra_argument,
    "wrong argument": wrong_argument,
    "missing call": missing_call,
    "call made twice": call_made_twice,
}


# The verifier


async def judged(rows: list[Row]) -> tuple[list[float | None], float]:
    verifier = open_verifier("tool_calls", {})
    began = cpu_s()
    scores = [
        (await verifier(Sample(response=row.response, reference=row.gold))).score for row in rows
    ]
    return scores, cpu_s() - began


def counted(rows: list[Row], scores: list[float | None]) -> dict[str, Any]:
    made: Counter[str] = Counter()
    good: Counter[bool] = Counter()
    mistakes: list[dict[str, Any]] = []
    for row, score in zip(rows, scores, strict=True):
        made[row.kind] += 1
        if (score == 1) == row.right:
            good[row.right] += 1
        else:
            mistakes.append({"id": row.id, "kind": row.kind, "score": score})
            say(f"  {mistakes[-1]}")
    right = sum(row.right for row in rows)
    return {
        "accepted_%": 100 * good[True] / right,
        "rejected_%": 100 * good[False] / (len(rows) - right),
        "rows_by_kind": dict(made),
        "mistakes": mistakes,
    }


if __name__ == "__main__":
    main()
