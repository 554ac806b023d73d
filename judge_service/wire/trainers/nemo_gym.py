"""NeMo-Gym's resources server: reads a rollout as a Responses object and returns it with its reward."""

from collections.abc import Mapping
from typing import Any

from judge_service.errors import WireError
from judge_service.values import UNSCORED_REASONS, Message, Reward, Sample
from judge_service.wire.content import (
    MODALITIES,
    clean_text,
    name_of,
    read_id,
    read_text,
    unseen_in,
)
from judge_service.wire.jsontext import render
from judge_service.wire.native import ScoreRange, native_reward
from judge_service.wire.rows import ROLES, find_reference, group_key_of

FAILURE = "judge_failed"
"""NeMo-Gym's word for a rollout that could not be judged; it separates such rows and tries them again."""

STATELESS = "stateless"
"""The answer of `GET /reverify_mode`: a rollout may be judged again at any time."""

PREFIX = "judge_"
"""Prefix of the names of criteria, so that none of them replaces a field of the data set."""


def decode_verify(body: Any) -> Sample:
    """Reads the body of `POST /verify`.

    The conversation is `responses_create_params` followed by the output of `response`. The response is what
    the policy said after the last turn of a tool or user; an output that ends with another turn is an empty
    answer. Every other field belongs to the data set; the reference is searched there, in `expected_answer`
    first.

    Raises WireError, and nothing else.
    """
    asked = _read_object(body, "responses_create_params", "$")
    answered = _read_object(body, "response", "$")
    turns = _read_instructions(asked)
    turns += _read_items(asked.get("input"), "$.responses_create_params.input")
    output = _merge(_read_items(answered.get("output"), "$.response.output"))
    is_answered = bool(output) and output[-1].role == "assistant"
    answer = output.pop() if is_answered else Message("assistant", "")
    messages = (*turns, *output)
    fields = {k: v for k, v in body.items() if k not in ("responses_create_params", "response")}
    expected = {"reference_answer": body["expected_answer"]} if "expected_answer" in body else {}
    return Sample(
        id=read_id(answered.get("id"), "$.response.id"),
        messages=messages,
        response=answer.content,
        reference=find_reference(fields | expected, "$"),
        metadata=fields,
        group_key=group_key_of(turns),
        unseen=answer.unseen,
    )


def encode_verify(
    body: Mapping[str, Any], sample: Sample, reward: Reward, score_range: ScoreRange
) -> dict[str, Any]:
    """Writes the reply to `POST /verify`: the body, the reward, and a number for each criterion.

    A rollout that was not judged is masked, in the fields that NeMo-Gym and NeMo-RL look at.
    """
    told = native_reward(sample, reward, score_range, reasons=False)
    if told.score is None:
        return {**body, **_failure(body, reward)}
    scores = {f"{PREFIX}{name}": score for name, score in told.criteria.items()}
    numbers = {name: score for name, score in scores.items() if score is not None}
    return {**body, **numbers, "reward": told.score}


def _failure(body: Mapping[str, Any], reward: Reward) -> dict[str, Any]:
    detail = reward.detail or UNSCORED_REASONS[reward.reason or "grader_error"]
    told = f"{reward.reason}: {detail}"
    config = body.get("instance_config")
    return {
        "reward": 0.0,
        "mask_sample": True,
        "failure_kind": FAILURE,
        "failure_reason": told,
        "instance_config": {**(config if isinstance(config, dict) else {}), "mask_sample": True},
        "_ng_failure_class": FAILURE,
        "_ng_failure_judge_error": told,
    }


def _read_object(body: Any, field: str, path: str) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise WireError(path, f"must be an object with `response`, not {name_of(body)}")
    value = body.get(field)
    if not isinstance(value, dict):
        raise WireError(f"{path}.{field}", f"must be an object, not {name_of(value)}")
    return value


def _read_instructions(asked: Mapping[str, Any]) -> list[Message]:
    text = read_text(asked.get("instructions"), "$.responses_create_params.instructions")
    return [Message("system", text)] if text else []


def _read_items(value: Any, path: str) -> list[Message]:
    """The turns of a list of Responses items, or of one text, which is a user's turn."""
    if isinstance(value, str):
        return [Message("user", clean_text(value))]
    if not isinstance(value, list):
        raise WireError(path, f"must be a list of items, not {name_of(value)}")
    turns = [_read_item(item, f"{path}[{place}]") for place, item in enumerate(value)]
    return [turn for turn in turns if turn is not None]


def _read_item(item: Any, path: str) -> Message | None:
    """One turn; `None` for reasoning and other items that are not turns."""
    if not isinstance(item, dict):
        raise WireError(path, f"must be an object, not {name_of(item)}")
    kind = item.get("type", "message")
    if kind == "message":
        return _read_message(item, path)
    if kind == "function_call":
        called = {"name": item.get("name"), "arguments": item.get("arguments")}
        return Message("assistant", clean_text(render(called, path)))
    if kind == "function_call_output":
        output = item.get("output")
        return Message("tool", read_text(output, f"{path}.output"), unseen_in(output))
    if kind in MODALITIES:  # the policy made an image
        return Message("assistant", "", (MODALITIES[kind],))
    return None


def _read_message(item: Mapping[str, Any], path: str) -> Message:
    role, content = item.get("role"), item.get("content")
    if not isinstance(role, str):
        raise WireError(f"{path}.role", f"must be a string, not {name_of(role)}")
    if isinstance(content, list):
        content = [_unwrap_refusal(block) for block in content]
    text = read_text(content, f"{path}.content")
    return Message(ROLES.get(role) or clean_text(role), text, unseen_in(content))


def _unwrap_refusal(block: Any) -> Any:
    """A refusal as text: it is an answer, which a rubric may even want."""
    if isinstance(block, dict) and block.get("type") == "refusal":
        return {"type": "output_text", "text": block.get("refusal")}
    return block


def _merge(turns: list[Message]) -> list[Message]:
    """Joins consecutive turns of the policy."""
    merged: list[Message] = []
    for turn in turns:
        if turn.role == "assistant" and merged and merged[-1].role == "assistant":
            earlier = merged.pop()
            text = "\n".join(filter(None, (earlier.content, turn.content)))
            unseen = tuple(sorted({*earlier.unseen, *turn.unseen}))
            merged.append(Message("assistant", text, unseen))
        else:
            merged.append(turn)
    return merged
