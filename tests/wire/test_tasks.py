"""The task of a row, under whatever name a data set has it."""

import logging
from typing import Any

import pytest

from judge_service.values import Reward
from judge_service.wire import ReplyPolicy, decode_event, decode_row, explain_missing_task
from judge_service.wire.rows import TASK_FIELDS


@pytest.mark.parametrize("field", TASK_FIELDS)
@pytest.mark.parametrize("answer", ["response", "completion", "model_response"])
def test_a_task_is_read_under_every_name_and_makes_a_group(field: str, answer: str) -> None:
    row = {field: "What is 2 + 2?", answer: "4"}

    (sample,) = decode_event(row).samples

    assert sample == decode_event([row]).samples[0]
    assert [(turn.role, turn.content) for turn in sample.messages] == [("user", "What is 2 + 2?")]
    assert sample.response == "4"
    assert sample.group_key == decode_row({"prompt": "What is 2 + 2?", "response": "5"}).group_key


def test_an_instruction_has_its_input() -> None:
    sample = decode_row({"instruction": "Add the numbers.", "input": "2, 2", "response": "4"})

    assert [turn.content for turn in sample.messages] == ["Add the numbers.", "2, 2"]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "the task", "question": "another"},
        {"messages": [{"role": "user", "content": "the task"}], "problem": "another"},
        {"query": "the task", "question": "another", "model_response": "4"},
        {"problem": [{"role": "user", "content": "the task"}], "question": "another"},
        {"prompt": None, "question": "", "problem": {"a": 1}, "input": "the task"},
    ],
)
def test_the_first_task_counts_and_what_is_none_is_no_error(row: dict[str, Any]) -> None:
    assert [turn.content for turn in decode_row(row).messages] == ["the task"]


def test_a_wrapper_with_a_column_beside_it_stays_one() -> None:
    rows = [{"prompt": "q", "response": "4"}] * 2

    assert len(decode_event({"question": "for all", "batch": rows}).samples) == 2
    assert len(decode_event({"input": rows}).samples) == 2


LIKE = {"response": "4", "Prompt_Text": "What is 2 + 2?"}


@pytest.mark.parametrize(
    ("row", "is_told"),
    [
        (LIKE, True),
        ({**LIKE, "prompt": "What?"}, False),
        ({"response": "4", "task": "math"}, False),  # a label
        ({"response": "4", "question_id": 7}, False),
        ({"Prompt_Text": "What is 2 + 2?"}, False),  # a raw row
    ],
)
def test_a_column_that_looks_like_the_task_is_told_once(
    row: dict[str, Any], caplog: pytest.LogCaptureFixture, *, is_told: bool
) -> None:
    sample, policy = decode_row(row), ReplyPolicy()

    with caplog.at_level(logging.WARNING, "judge_service"):
        for _ in range(2):
            policy.answer([sample], [Reward(score=0.5)])

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == is_told
    assert ("`Prompt_Text` looks like it" in explain_missing_task([sample])) == is_told
