"""The rubrics of examples/rubrics give their rollouts the expected order."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from judge_service.cli import main
from judge_service.grading import load_rubric
from judge_service.grading.monitoring.guards import GUARDS, Guards
from judge_service.values import Message, Sample

RUBRICS = Path(__file__).parents[3] / "examples" / "rubrics"
NAMES = sorted(path.stem for path in RUBRICS.glob("*.jsonl"))

LIBRARY = {
    *("similarity", "support_tone", "summary_faithfulness", "creative_writing", "safety"),
    *("rag_groundedness", "code_review", "math_explained", "structured_extraction", "sql"),
    *("agent_trajectory", "brand_voice"),
}


def rows(name: str) -> list[dict[str, Any]]:
    return [
        json.loads(line) for line in (RUBRICS / f"{name}.jsonl").read_text("utf-8").splitlines()
    ]


def sample(row: dict[str, Any]) -> Sample:
    *turns, last = row["messages"]
    messages = tuple(Message(one["role"], one["content"]) for one in turns)
    reference = row.get("reference_answer")
    return Sample(messages=messages, response=last["content"], reference=reference)


def hollow(name: str) -> dict[int, str]:
    """The lines that a guard gives the lowest score, and which guard."""
    guards = Guards(frozenset(GUARDS))
    found = {line: guards.lowest(sample(row)) for line, row in enumerate(rows(name), 1)}
    return {line: guard for line, guard in found.items() if guard}


def test_the_library_has_what_it_should() -> None:
    assert set(NAMES) == LIBRARY


@pytest.mark.parametrize("name", NAMES)
def test_a_dozen_rollouts_get_their_expected_order_and_what_says_nothing_the_lowest_decile(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    place = RUBRICS / name

    code = main(["rubric", "check", f"{place}.toml", "--examples", f"{place}.jsonl", "--expect"])

    said = capsys.readouterr().out
    assert code == 0, said
    found = re.search(r"(\d+) of (\d+) pairs are in the order", said)
    assert found
    assert int(found[1]) == int(found[2]) >= 50
    table = re.findall(r"^([\d.]+) +line (\d+):", said, re.MULTILINE)
    scores = {int(line): float(score) for score, line in table}
    assert len(scores) == len(rows(name))
    assert all(scores[line] <= 0.1 for line, guard in hollow(name).items() if guard == "degenerate")


@pytest.mark.parametrize("name", NAMES)
def test_each_has_a_dozen_rollouts_and_a_judge_that_likes_one_that_says_nothing(name: str) -> None:
    found = rows(name)
    criteria = load_rubric(str(RUBRICS / f"{name}.toml")).criteria
    judged = {one.name for one in criteria if one.kind == "judge"}

    assert len(found) >= 12
    assert all(set(row["scripted"]) == judged for row in found)
    empty = [found[line - 1] for line in hollow(name)]
    assert min(row["expected_rank"] for row in empty) > len(found) / 2
    assert any(sum(row["scripted"].values()) > 0 for row in empty)
