"""Replies to trainers."""

import json
from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.wire import Answer, Metric, encode_error, encode_item, encode_reply

SCORED = Answer(
    id=7,
    score=0.75,
    metrics=(Metric("correctness", 0.75, "Reward"), Metric("unscored", 0.0, "Metric")),
)
UNSCORED = Answer(id="b", score=0.5, unscored=True, reason="throttled", detail="no room")


def test_an_item_has_the_fields_of_the_contract_and_no_others() -> None:
    assert encode_item(SCORED) == {
        "id": 7,
        "aggregate_reward_score": 0.75,
        "metrics_list": [
            {"name": "correctness", "value": 0.75, "type": "Reward"},
            {"name": "unscored", "value": 0.0, "type": "Metric"},
        ],
    }


def test_an_unscored_item_says_why() -> None:
    assert encode_item(UNSCORED) == {
        "id": "b",
        "aggregate_reward_score": 0.5,
        "metrics_list": [],
        "unscored_reason": "throttled",
    }


def test_a_list_is_answered_with_a_list() -> None:
    assert encode_reply([SCORED, UNSCORED], "list") == [encode_item(SCORED), encode_item(UNSCORED)]
    assert encode_reply([], "list") == []


def test_an_http_event_is_answered_with_a_body_of_json_text() -> None:
    reply: Any = encode_reply([SCORED, UNSCORED], "http")

    assert reply["statusCode"] == 200
    assert type(reply["statusCode"]) is int
    assert reply["headers"] == {"content-type": "application/json"}
    assert json.loads(reply["body"]) == [encode_item(SCORED), encode_item(UNSCORED)]


@pytest.mark.parametrize("value", ["ü😀", "\ud800", 10**30, None, True, [1, {"a": 0.5}]])
def test_the_body_is_ascii_and_carries_the_id_unchanged(value: Any) -> None:
    reply: Any = encode_reply([Answer(id=value, score=1.0)], "http")

    assert reply["body"].isascii()
    assert json.loads(reply["body"])[0]["id"] == value


def test_an_error_is_a_message_with_its_sentence() -> None:
    reply = encode_error(WireError("$[3].messages", "must be a list — ü"), 400)

    assert reply == {
        "statusCode": 400,
        "headers": {"content-type": "application/json"},
        "body": '{"error":"$[3].messages: must be a list \\u2014 \\u00fc"}',
    }


def many(count: int) -> list[Answer]:
    metrics = (Metric("correctness", 0.5, "Reward"), Metric("unscored", 1.0, "Metric"))
    return [
        Answer(id=f"row-{n}", score=0.5, metrics=metrics, unscored=True, reason="throttled")
        for n in range(count)
    ]


def size_of(reply: Any) -> int:
    return len(json.dumps(reply))


def items_of(reply: Any) -> Any:
    return reply if isinstance(reply, list) else json.loads(reply["body"])


@pytest.mark.parametrize("envelope", ["list", "http"])
def test_a_reply_that_is_too_long_loses_its_explanations_first(envelope: Any) -> None:
    whole = encode_reply(many(100), envelope)
    size = size_of(whole)
    assert encode_reply(many(100), envelope, size) == whole

    shorter = encode_reply(many(100), envelope, size - 1)
    assert all("unscored_reason" not in item for item in items_of(shorter))
    assert all(len(item["metrics_list"]) == 2 for item in items_of(shorter))

    shortest = encode_reply(many(100), envelope, size_of(shorter) - 1)
    assert [item["id"] for item in items_of(shortest)] == [f"row-{n}" for n in range(100)]
    assert {metric["type"] for item in items_of(shortest) for metric in item["metrics_list"]} == {
        "Reward"
    }

    with pytest.raises(WireError, match=r"the reply to 100 rows takes .* send smaller batches"):
        encode_reply(many(100), envelope, size_of(shortest) - 1)
