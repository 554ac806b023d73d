"""Measures the guards: degenerate answers that they catch, and honest answers that they take for such.

    TEST_DATA=DIRECTORY python loadtest/accuracy_guards.py [--rows 10000]

The degenerate answers are those of `tests/data/grading/hollow_answers.json`, ten in each of 20 languages. One
counts if it is caught with and without a reference. The honest answers are right, accepted or preferred by a
majority of people in their data set; none is shown with a reference, which could excuse it.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from measuring import ROOT, at_least, at_most, report, say, sizes

from judge_service.grading.monitoring.guards import GUARDS, LOWEST, Guards
from judge_service.values import Message, Sample

CAUGHT_PERCENT = 90.0
ALARMS_PERCENT = 0.1
HONEST = 5000
SHORT_CHARS = 400
HOLLOW = ROOT / "tests" / "data" / "grading" / "hollow_answers.json"


def main() -> None:
    options = sizes(__doc__, rows=(10_000, 100))
    data = os.environ.get("TEST_DATA")
    if not data:
        sys.exit("set TEST_DATA to the directory with the data sets (CONTRIBUTING.md)")
    caught = caught_by_language()
    alarms, answers, short = false_alarms(islice(honest(Path(data)), options.rows))
    looked = answers.total()
    figures = [
        at_least(
            "degenerate answers caught", 100 * sum(caught.values()) / 200, CAUGHT_PERCENT, "%"
        ),
        at_least("honest answers looked at", looked, HONEST),
        at_most("honest answers that score 0", 100 * alarms.total() / looked, ALARMS_PERCENT, "%"),
        *(
            at_most(f"of these by `{name}`", 100 * alarms[name] / looked, ALARMS_PERCENT, "%")
            for name in LOWEST
        ),
    ]
    details = {
        "caught_of_10_by_language": caught,
        "honest_by_set": answers,
        f"honest_of_at_most_{SHORT_CHARS}_chars": short,
        "alarms": alarms,
    }
    report("accuracy_guards", figures, details, smoke=options.smoke)


def sample(prompt: str, response: str, reference: str | None = None) -> Sample:
    return Sample(messages=(Message("user", prompt),), response=response, reference=reference)


def caught_by_language() -> dict[str, int]:
    guards = Guards(frozenset(GUARDS))
    caught: dict[str, int] = {}
    for language, block in json.loads(HOLLOW.read_text("utf-8")).items():
        prompt, references = block["prompt"], (None, block["reference"])
        texts = [text.replace("{prompt}", prompt) for text in block["hollow"]]
        caught[language] = sum(
            all(guards.lowest(sample(prompt, text, one)) for one in references) for text in texts
        )
    return caught


def false_alarms(
    answers: Iterator[tuple[str, Sample]],
) -> tuple[Counter[str], Counter[str], int]:
    guards = Guards(frozenset(GUARDS))
    alarms: Counter[str] = Counter()
    sets: Counter[str] = Counter()
    short = 0
    for name, one in answers:
        response = one.response or ""
        sets[name] += 1
        short += len(response) <= SHORT_CHARS
        if guard := guards.lowest(one):
            alarms[guard] += 1
            say(f"  {name}: {guard}: {response[:60]!r}")
    return alarms, sets, short


def honest(data: Path) -> Iterator[tuple[str, Sample]]:
    """Honest answers with the name of their data set."""
    for name, answers in SETS.items():
        for prompt, response in answers(data):
            if response.strip():
                yield name, sample(prompt, response)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def gsm8k(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "gsm8k" / "test.jsonl"):
        yield row["question"], row["answer"]
        yield row["question"], row["answer"].split("####")[-1].strip()
    for row in rows(data / "gsm8k" / "model_solutions.jsonl"):
        for model in row.values():
            if isinstance(model, dict) and model["is_correct"]:
                yield row["question"], model["solution"]


def math500(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "math500" / "test.jsonl"):
        yield row["problem"], row["solution"]
        yield row["problem"], row["answer"]


def code(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "mbpp" / "mbpp.jsonl"):
        yield row["text"], row["code"]
    for row in rows(data / "humaneval" / "humaneval.jsonl"):
        yield row["prompt"], row["canonical_solution"]
        yield row["prompt"], row["prompt"] + row["canonical_solution"]


def bfcl(data: Path) -> Iterator[tuple[str, str]]:
    for kind in ("multiple", "parallel", "simple_python"):
        asked = rows(data / "bfcl" / f"BFCL_v4_{kind}.jsonl")
        accepted = rows(data / "bfcl" / f"answer_{kind}.jsonl")
        for row, answer in zip(asked, accepted, strict=True):
            yield row["question"][0][-1]["content"], json.dumps(answer["ground_truth"])


def ifeval(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "ifeval" / "en_gpt-4o-mini_strict.jsonl"):
        yield row["prompt"], row["response"]


def mt_bench(data: Path) -> Iterator[tuple[str, str]]:
    turns = {row["question_id"]: row["turns"] for row in rows(data / "mt_bench" / "question.jsonl")}
    for row in rows(data / "mt_bench" / "reference_answer_gpt-4.jsonl"):
        answers = row["choices"][0]["turns"]
        yield from zip(turns[row["question_id"]], answers, strict=True)


def llmbar(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "llmbar" / "pairs.jsonl"):
        yield row["input"], row[f"output_{row['label']}"]


def pandalm(data: Path) -> Iterator[tuple[str, str]]:
    for row in rows(data / "pandalm" / "testset-v1.jsonl"):
        votes = [row["annotator1"], row["annotator2"], row["annotator3"]]
        for one in (1, 2):
            if votes.count(one) >= 2 and isinstance(row[f"response{one}"], str):
                yield f"{row['instruction']}\n{row['input'] or ''}", row[f"response{one}"]


SETS = {
    "GSM8K": gsm8k,
    "MATH-500": math500,
    "MBPP, HumanEval": code,
    "BFCL": bfcl,
    "IFEval": ifeval,
    "MT-Bench": mt_bench,
    "LLMBar": llmbar,
    "PandaLM": pandalm,
}


if __name__ == "__main__":
    main()
