"""Measures the verifiers of a stated number on GSM8K: agreement with its checker, gold and wrong answers.

    TEST_DATA=DIRECTORY python loadtest/accuracy_gsm8k.py [--problems 660]

`number` judges the recorded solutions of four models, whose verdicts by GSM8K's own checker are in the data.
`number`, `boxed` and `exact` judge the gold answer, and wrong ones (off by one, ten times as much, the
opposite, the next problem's, a list of guesses), each in all forms of `STATED`. Every
disagreement is listed by id.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from measuring import at_least, report, say, sizes
from msgspec import Struct

from judge_service import Sample
from judge_service.verifiers import open_verifier

ACCEPTED_PERCENT = REJECTED_PERCENT = 99.0
MODELS = ("6b_finetuning", "6b_verification", "175b_finetuning", "175b_verification")

STATED: Mapping[str, Mapping[str, str]] = {
    "number": {
        "hashes": "#### {0}",
        "box": "So we get \\boxed{{{0}}}.",
        "dollars in a box": "$\\boxed{{\\${0:,}}}$",
        "tag": "<answer>{0}.0</answer>",
        "phrase": "The answer is {0} dollars, because 2 + 2 = 4.",
        "label": "Answer: {0:,}",
        "last": "2 + 2 = 4, which makes {0}",
        "after thinking": "<think>\\boxed{{1}}? \\boxed{{2}}?</think> \\boxed{{{0}}}",
    },
    "boxed": {
        "box": "So we get \\boxed{{{0}}}.",
        "thousands": "So we get $\\boxed{{{0:,}}}$.",
        "text": "\\boxed{{{0} \\text{{ }}}}",
        "hashes": "2 + 2 = 4\n#### {0}",
    },
    "exact": {
        "whole": "{0}",
        "tag": "<answer> {0} </answer>",
        "phrase": "Hence the answer is: {0}.",
        "hashes": "2 + 2 = 4\n#### {0}",
    },
}
"""The forms in which an answer is stated, by verifier."""

GUESSES = ("\\boxed{{{0}}} \\boxed{{{1}}}", "#### {0} or {1}", "<answer>{1}, {0}</answer>")
"""Lists that contain the right answer."""


class Row(Struct, frozen=True):
    """A response, what it is compared with, and whether it is right."""

    id: str
    kind: str
    response: str
    reference: str
    right: bool


def main() -> None:
    options = sizes(__doc__, problems=(660, 10))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    folder = Path(data) / "gsm8k"
    recorded = list(recorded_rows(folder / "model_solutions.jsonl", options.problems))
    stated = list(stated_rows(folder / "test.jsonl", options.problems))
    say(f"{len(recorded)} recorded and {len(stated)} stated answers")
    theirs = asyncio.run(judged(recorded))
    mine = asyncio.run(judged(stated))
    figures = [
        at_least("verdicts of GSM8K's own checker reproduced", theirs["agreed_%"], 100, "%"),
        at_least("gold accepted", mine["accepted_%"], ACCEPTED_PERCENT, "%"),
        at_least("wrong rejected", mine["rejected_%"], REJECTED_PERCENT, "%"),
    ]
    report("accuracy_gsm8k", figures, {"recorded": theirs, "stated": mine}, smoke=options.smoke)


def recorded_rows(path: Path, problems: int) -> Iterator[Row]:
    for place, line in enumerate(path.read_text().splitlines()[:problems]):
        one = json.loads(line)
        for model in MODELS:
            said = one[model]
            yield Row(
                f"{place}/{model}",
                "number",
                said["solution"],
                one["ground_truth"],
                said["is_correct"],
            )


def stated_rows(path: Path, problems: int) -> Iterator[Row]:
    answers = [json.loads(line)["answer"] for line in path.read_text().splitlines()[:problems]]
    golds = [int(answer.rpartition("####")[2].replace(",", "")) for answer in answers]
    for place, gold in enumerate(golds):
        yield Row(f"{place}/solution", "number", answers[place], str(gold), right=True)
        wrong = {gold - 1, gold + 1, gold * 10, -gold, golds[place - 1]} - {gold}
        for kind, ways in STATED.items():
            for way, form in ways.items():
                where = f"{place}/{kind}/{way}"
                yield Row(where, kind, form.format(gold), str(gold), right=True)
                for said in wrong:
                    yield Row(f"{where}/{said}", kind, form.format(said), str(gold), right=False)
            for way, form in enumerate(GUESSES):
                guess = form.format(gold - 1, gold)
                yield Row(f"{place}/{kind}/guesses {way}", kind, guess, str(gold), right=False)


async def judged(rows: Sequence[Row]) -> dict[str, Any]:
    verifiers = {kind: open_verifier(kind, {}) for kind in STATED}
    wrong = {True: 0, False: 0}
    listed = []
    for row in rows:
        found = await verifiers[row.kind](Sample(response=row.response, reference=row.reference))
        if (found.score == 1.0) != row.right:
            wrong[row.right] += 1
            listed.append(row.id)
    right = sum(row.right for row in rows)
    return {
        "rows": len(rows),
        "agreed_%": 100 * (1 - len(listed) / len(rows)),
        "accepted_%": 100 * (1 - wrong[True] / right),
        "rejected_%": 100 * (1 - wrong[False] / (len(rows) - right)),
        "disagreements": listed,
    }


if __name__ == "__main__":
    main()
