"""What is said about rows that hold too little to judge, and when."""

import logging

import pytest

from judge_service.values import Reward, Sample
from judge_service.wire import ReplyPolicy, decode_row, explain_unread
from judge_service.wire.rows import ANSWER_FIELDS
from judge_service.wire.unread import MAX_KEYS

UNREAD = Reward(score=None, reason="no_response")
SCORED = Reward(score=0.5)
ROWS = [decode_row({"question": "2 + 2?", "output": "4"})] * 2


@pytest.mark.parametrize("field", ANSWER_FIELDS)
def test_the_fields_that_are_named_are_those_that_are_read(field: str) -> None:
    assert decode_row({"prompt": "q", field: "it"}).response == "it"
    assert f"`{field}`" in explain_unread("no_response", ())


def test_keys_are_named_once_bounded_and_on_one_line() -> None:
    keys = {f"k{number}\n\x1b" + "x" * 99: 1 for number in range(30)}

    said = explain_unread("no_reference", [Sample(metadata=keys)] * 3)

    assert "\n" not in said
    assert "\x1b" not in said
    assert said.count("k0?") == 1
    assert said.endswith(f"and {30 - MAX_KEYS} more")
    assert len(said) < 2_000


@pytest.mark.parametrize(
    ("rewards", "warnings"),
    [
        ([UNREAD, UNREAD], 1),
        ([UNREAD], 0),  # a pre-flight row
        ([UNREAD, SCORED], 0),
        ([Reward(score=None, reason="abstained")] * 2, 0),
        ([Reward(score=None, reason="denied")] * 2, 0),
        ([], 0),
    ],
)
def test_a_batch_that_holds_nothing_to_judge_is_told_once(
    rewards: list[Reward], warnings: int, caplog: pytest.LogCaptureFixture
) -> None:
    policy = ReplyPolicy()

    with caplog.at_level(logging.WARNING, "judge_service"):
        for _ in range(2):
            policy.answer(ROWS[: len(rewards)], rewards, refuse=False)

    said = [record.getMessage() for record in caplog.records]
    assert len(said) == warnings
    assert all("the rows have `question`, `output`" in one for one in said)
