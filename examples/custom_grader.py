"""Examples of custom graders in the three supported forms (docs/custom-grader.md).

grader = "custom_grader.py:grade"        # in a judge.toml next to this file
"""

import re
from typing import Any

from judge_service import Sample, Score

NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def last_number(text: str | None) -> float | None:
    """The last number of a text, which usually is the answer."""
    found = NUMBER.findall((text or "").replace(",", ""))
    return float(found[-1]) if found else None


async def grade(sample: Sample) -> Score:
    """Scores the right number, and a little for an explanation. It may await a client."""
    given, wanted = last_number(sample.response), last_number(sample.reference)
    correct = float(given is not None and given == wanted)
    shown = min(len((sample.response or "").split()) / 20, 1.0)
    parts = {"correct": correct, "shown": shown}
    return Score(
        0.9 * correct + 0.1 * shown, parts, {"words": len((sample.response or "").split())}
    )


def compute_score(
    data_source: str, solution_str: str, ground_truth: Any, extra_info: dict[str, Any] | None = None
) -> dict[str, float]:
    """The same in verl's form, as it runs in a verl job."""
    del data_source, extra_info
    correct = float(last_number(solution_str) == last_number(str(ground_truth)))
    return {"score": correct, "words": float(len(solution_str.split()))}


def number_reward(
    prompts: list[Any], completions: list[list[dict[str, str]]], answer: list[str], **columns: Any
) -> list[float | None]:
    """The same in TRL's form. `None` means "not judged": the row is excluded and is not a failure."""
    del prompts, columns
    wanted = [last_number(text) for text in answer]
    given = [last_number(completion[-1]["content"]) for completion in completions]
    return [
        None if right is None else float(number == right)
        for number, right in zip(given, wanted, strict=True)
    ]
