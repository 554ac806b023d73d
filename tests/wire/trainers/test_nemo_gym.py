from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.values import Message, Part, Reward
from judge_service.wire.trainers.nemo_gym import decode_verify, encode_verify


def message(text: str, role: str = "assistant") -> dict[str, Any]:
    return {"type": "message", "role": role, "content": [{"type": "output_text", "text": text}]}


def verify(*output: Any, **fields: Any) -> dict[str, Any]:
    asked = {"input": [{"role": "user", "content": "2 + 2?"}]}
    response = {"id": "resp_1", "output": list(output)}
    return {"responses_create_params": asked, "response": response, **fields}


CALL = {"type": "function_call", "call_id": "1", "name": "add", "arguments": '{"a":2}'}
RESULT = {"type": "function_call_output", "call_id": "1", "output": "4"}


def test_the_last_message_is_the_response() -> None:
    sample = decode_verify(verify(message("four"), expected_answer=4))

    assert sample.id == "resp_1"
    assert sample.messages == (Message("user", "2 + 2?"),)
    assert (sample.response, sample.reference) == ("four", "4")


def test_what_the_policy_did_before_is_conversation() -> None:
    sample = decode_verify(verify(message("Adding."), CALL, RESULT, message("four")))

    assert [turn.role for turn in sample.messages] == ["user", "assistant", "tool"]
    assert '"add"' in sample.messages[1].content
    assert sample.response == "four"


def test_a_message_of_its_own_is_never_taken_for_the_gold_answer() -> None:
    sample = decode_verify(verify(message("gold"), message("gold")))

    assert sample.reference is None
    assert sample.response == "gold\ngold"


@pytest.mark.parametrize(
    "output", [[], [{"type": "reasoning", "summary": []}], [CALL, RESULT], [message("")]]
)
def test_an_output_that_says_nothing_is_an_empty_answer(output: list[Any]) -> None:
    assert decode_verify(verify(*output)).response == ""


def test_a_picture_that_the_policy_made_is_not_lost_without_a_word() -> None:
    picture = {"type": "message", "role": "assistant", "content": [{"type": "input_image"}]}
    assert decode_verify(verify(picture, message("Look!"))).unseen == ("image",)
    assert decode_verify(verify({"type": "image_generation_call"})).unseen == ("image",)
    assert decode_verify(verify(message("Look!"))).unseen == ()


def test_a_refusal_is_an_answer() -> None:
    refusal = {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}

    assert decode_verify(verify(refusal)).response == "No."


def test_rollouts_of_one_task_are_a_group_whatever_the_policy_did() -> None:
    one = decode_verify(verify(message("four")))
    other = decode_verify(
        verify(CALL, RESULT, message("Fit?"), message("No", "user"), message("5"))
    )

    assert one.group_key == other.group_key != ""


def test_input_may_be_one_text_and_have_instructions() -> None:
    body = verify(message("four"))
    body["responses_create_params"] = {"instructions": "Be brief.", "input": "2 + 2?"}

    assert decode_verify(body).messages == (
        Message("system", "Be brief."),
        Message("user", "2 + 2?"),
    )


@pytest.mark.parametrize("name", ["expected_answer", "reference_answer", "answer"])
def test_the_reference_is_found_among_the_fields_of_the_data_set(name: str) -> None:
    sample = decode_verify(verify(message("four"), **{name: "vier", "model_response": "x"}))

    assert (sample.reference, sample.response) == ("vier", "four")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$"),
        ({}, "$.responses_create_params"),
        ({"responses_create_params": {}}, "$.response"),
        ({"responses_create_params": {}, "response": {}}, "$.responses_create_params.input"),
        ({**verify(), "response": {}}, "$.response.output"),
        (verify(1), "$.response.output[0]"),
        (verify({"role": 1}), "$.response.output[0].role"),
        (verify({"role": "assistant", "content": 1}), "$.response.output[0].content"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body: Any, field: str) -> None:
    with pytest.raises(WireError) as refused:
        decode_verify(body)

    assert refused.value.field == field


def test_the_reply_is_the_body_with_its_reward() -> None:
    body = verify(message("four"), style="formal", reward=0.1)
    reward = Reward(score=0.75, parts=(Part("style", 0.75, 1.0),))

    reply = encode_verify(body, decode_verify(body), reward, "-1..1")

    assert reply == {**body, "reward": 0.5, "judge_style": 0.5}


def test_a_failure_to_judge_is_masked_and_keeps_the_instance_config() -> None:
    body = verify(message("four"), instance_config={"seed": 1})
    failed = Reward(score=None, reason="deadline", detail="no time")

    reply = encode_verify(body, decode_verify(body), failed, "0..1")

    assert reply["reward"] == 0.0
    assert reply["mask_sample"] is True
    assert reply["instance_config"] == {"seed": 1, "mask_sample": True}
    assert reply["failure_kind"] == reply["_ng_failure_class"] == "judge_failed"
    assert reply["failure_reason"] == reply["_ng_failure_judge_error"] == "deadline: no time"
    assert body["instance_config"] == {"seed": 1}
