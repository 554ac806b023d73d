"""Messages of a queue of rollouts: what is read, what is refused with its field, what is written."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.errors import WireError
from judge_service.wire.trainers.rollout_queue import (
    MAX_REQUEST_BYTES,
    GenerateResponse,
    RolloutRequest,
    encode_generate_request,
    encode_rollout_response,
    read_message,
)


def request(**more: Any) -> dict[str, Any]:
    return {
        "version": "v0",
        "timestamp": "2026-01-01T00:00:00Z",
        "sample_id": "sample-000_0",
        "max_length": 10240,
        "rewards": {"range": [0.0, 1.0]},
        "data": {"problem": "What is 1 + 1?", "answer": "2"},
        **more,
    }


def response(**more: Any) -> dict[str, Any]:
    return {
        "version": "v0",
        "sample_id": "sample-000_0",
        "step_id": "sample-000_0_0",
        "data": {"choices": [{"message": {"content": "It is 2."}, "finish_reason": "stop"}]},
        "finish_reason": "stop",
        **more,
    }


def read(message: Any) -> Any:
    return read_message(json.dumps(message), max_bytes=1_000_000)


def test_a_request_becomes_a_sample_with_its_task_and_reference() -> None:
    rollout = read(request())
    sample = rollout.sample("It is 2.")

    assert (sample.id, sample.response, sample.reference) == ("sample-000_0", "It is 2.", "2")
    assert [(turn.role, turn.content) for turn in sample.messages] == [("user", "What is 1 + 1?")]
    assert sample.group_key


@pytest.mark.parametrize(
    "data",
    [
        {"messages": [{"role": "user", "content": "What is 1 + 1?"}]},
        {"prompt": "What is 1 + 1?", "problem": "another"},
        {"prompt": [{"role": "user", "content": "What is 1 + 1?"}]},
        {"question": "What is 1 + 1?"},
        {"query": "What is 1 + 1?", "response": "a gold answer"},
        {"messages": [{"role": "user", "content": "What is 1 + 1?"}, {"role": "assistant", "content": "2"}]},
    ],
)  # fmt: skip
def test_the_task_is_found_and_sent_to_be_generated(data: dict[str, Any]) -> None:
    asked = json.loads(encode_generate_request(read(request(data=data))))

    assert asked == {
        "version": "v0",
        "sample_id": "sample-000_0",
        "step_id": "sample-000_0_0",
        "messages": [{"role": "user", "content": "What is 1 + 1?"}],
    }


def test_a_gold_answer_at_the_end_of_the_task_is_the_reference() -> None:
    turns = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "gold"}]

    sample = read(request(data={"messages": turns})).sample("mine")

    assert (sample.response, sample.reference) == ("mine", "gold")


def test_the_first_choice_is_the_answer() -> None:
    assert read(response()) == GenerateResponse(sample_id="sample-000_0", response="It is 2.")
    blocks = [{"message": {"content": [{"type": "text", "text": "a"}, {"text": "b"}]}}]
    assert read(response(data={"choices": blocks})).response == "a\nb"


def test_a_picture_in_the_answer_is_not_lost_without_a_word() -> None:
    content = [{"type": "image_url", "image_url": {}}, {"type": "text", "text": "Look!"}]
    answer = read(response(data={"choices": [{"message": {"content": content}}]}))
    assert (answer.response, answer.unseen) == ("Look!", ("image",))
    assert read(request()).sample(answer.response, answer.unseen).unseen == ("image",)


def test_an_answer_without_text_is_an_empty_one() -> None:
    assert read(response(data={"choices": [{"message": {"content": None}}]})).response == ""


def test_the_reward_is_in_the_range_that_was_asked_for() -> None:
    rollout = read(request(rewards={"range": [-1, 3]}))

    assert [rollout.scaled(score) for score in (0.0, 0.25, 1.0)] == [-1.0, 0.0, 3.0]
    assert read(request(rewards=None)).scaled(0.5) == 0.5


def test_the_answer_carries_the_reward_where_it_is_looked_for() -> None:
    assert json.loads(encode_rollout_response("s", 0.85)) == {
        "version": "v0",
        "sample_id": "s",
        "stop_reason": "end_of_conversation",
        "rewards": {"aggregate_score": 0.85},
    }


REFUSED = {
    "$": [[], "text", 7, None],
    "$.version": [request(version="v1"), response(version=None)],
    "$.sample_id": [request(sample_id=""), request(sample_id=7), response(sample_id="x" * 513)],
    "$.data": [request(data=None), request(data={}), request(data={"answer": "2"})],
    "$.data.problem": [request(data={"problem": {"text": 7}}), request(data={"problem": 7})],
    "$.data.messages[0]": [request(data={"messages": ["x"]})],
    "$.rewards.range": [
        request(rewards={"range": bad})
        for bad in (
            [0],
            [1, 0],
            [0, 0],
            ["0", "1"],
            [True, False],
            7,
            [0, 10**400],
            [-1e308, 1e308],
        )
    ],
    "$.data.choices": [response(data={})],
    "$.data.choices[0]": [response(data={"choices": []})],
    "$.data.choices[0].message.content": [response(data={"choices": [{"message": {}}]})],
}


@pytest.mark.parametrize(
    ("field", "message"),
    [(field, message) for field, messages in REFUSED.items() for message in messages],
)
def test_what_cannot_be_read_is_refused_with_its_field(field: str, message: Any) -> None:
    with pytest.raises(WireError) as caught:
        read(message)

    assert caught.value.field.startswith(field)


@pytest.mark.parametrize("text", ["", "{", '{"sample_id": NaN}', "[" * 100_000])
def test_text_that_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(WireError):
        read_message(text, max_bytes=1_000_000)


def test_a_task_that_the_table_cannot_hold_is_refused() -> None:
    with pytest.raises(WireError, match="390,000 bytes"):
        read(request(data={"problem": "x" * MAX_REQUEST_BYTES}))


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["data", "choices", "message", "content", "problem", "range", "role", "x"]
            ),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@given(
    st.sampled_from([request(), response()]),
    st.sampled_from(["data", "rewards", "sample_id", "step_id", "version"]),
    JSON,
)
def test_any_damaged_message_is_read_or_refused(whole: Any, field: str, value: Any) -> None:
    try:
        message = read(whole | {field: value})
    except WireError:
        return
    if isinstance(message, RolloutRequest):
        json.loads(encode_generate_request(message))
        assert message.low <= message.scaled(0.5) <= message.high
