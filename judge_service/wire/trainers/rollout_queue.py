"""Rollouts as messages of a queue: Nova Forge's multi-turn format for one's own orchestration.

    in     rollout_request      a task and its reference; answered by
    out    generate_request     the messages to generate from
    in     generate_response    what the policy said; answered by
    out    rollout_response     the reward, in the range that the request asked for

Messages have no type field; a `step_id` distinguishes a response from a request. See `docs/contracts.md`.
"""

import math
from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import WireError
from judge_service.values import Sample
from judge_service.wire.content import name_of, read_text, unseen_in
from judge_service.wire.jsontext import dump_json, read_json
from judge_service.wire.rows import TASK_FIELDS, decode_row

VERSION = "v0"
QUESTION_FIELDS = ("messages", *TASK_FIELDS, "query")
"""Fields of `data` that may hold the task, in order; the first that is not empty is used."""

MAX_ID_CHARS = 512
MAX_REQUEST_BYTES = 390_000
"""Largest request; a DynamoDB item has room for it and its other fields."""


class RolloutRequest(Struct, frozen=True, kw_only=True):
    """A task; the reward is for the policy's answer to it.

    text: the message as it arrived, to be stored.
    low, high: the range of the reward, from `rewards.range`, 0 to 1 by default.
    """

    sample_id: str
    text: str
    data: Mapping[str, Any]
    low: float = 0.0
    high: float = 1.0

    def sample(self, response: str, unseen: tuple[str, ...] = ()) -> Sample:
        """A sample of the task and the policy's answer. unseen: see `Sample`. Raises WireError."""
        field, turns = _task(self.data)
        row = {name: value for name, value in self.data.items() if name != field}
        answer = {"role": "assistant", "content": response}
        row = {**row, "id": self.sample_id, "messages": [*turns, answer]}
        return replace(decode_row(row, "$.data"), unseen=unseen)

    def scaled(self, score: float) -> float:
        """A score in [0, 1], mapped to the requested range."""
        return self.low + (self.high - self.low) * score


class GenerateResponse(Struct, frozen=True, kw_only=True):
    """The policy's answer. unseen: kinds of its content that are not text, see `Message`."""

    sample_id: str
    response: str
    unseen: tuple[str, ...] = ()


def read_message(text: str, *, max_bytes: int) -> RolloutRequest | GenerateResponse:
    """Reads a message's body.

    Raises WireError; it names the field that cannot be read.
    """
    message = read_json(text, max_bytes=max_bytes)
    if not isinstance(message, dict):
        raise WireError("$", f"must be a message object, not {name_of(message)}")
    version = message.get("version", VERSION)
    if version != VERSION:
        raise WireError("$.version", f"must be `{VERSION}`, the only supported version")
    sample_id = message.get("sample_id")
    if not isinstance(sample_id, str) or not 0 < len(sample_id) <= MAX_ID_CHARS:
        raise WireError("$.sample_id", f"must be a text of 1 to {MAX_ID_CHARS} characters")
    if "step_id" in message:
        response, unseen = _generated(message)
        return GenerateResponse(sample_id=sample_id, response=response, unseen=unseen)
    return read_request(text, message, sample_id)


def read_request(text: str, message: Mapping[str, Any], sample_id: str) -> RolloutRequest:
    """Reads a rollout request. Raises WireError, also for a task that cannot be judged later."""
    data = message.get("data")
    if not isinstance(data, dict):
        raise WireError("$.data", f"must be an object with the task, not {name_of(data)}")
    if len(text.encode("utf-8", "surrogatepass")) > MAX_REQUEST_BYTES:
        raise WireError(
            "$",
            f"is longer than {MAX_REQUEST_BYTES:,} bytes, the largest request that can be stored",
        )
    low, high = _range(message)
    request = RolloutRequest(sample_id=sample_id, text=text, data=data, low=low, high=high)
    request.sample("")
    return request


def encode_generate_request(request: RolloutRequest) -> str:
    """Writes the message that asks for the policy's answer: one turn, one step."""
    turns = request.sample("").messages
    return _encode(
        {
            "version": VERSION,
            "sample_id": request.sample_id,
            "step_id": f"{request.sample_id}_0",
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
        }
    )


def encode_rollout_response(sample_id: str, score: float) -> str:
    """Writes the message with the reward. score: finite, in the requested range."""
    return _encode(
        {
            "version": VERSION,
            "sample_id": sample_id,
            "stop_reason": "end_of_conversation",
            "rewards": {"aggregate_score": score},
        }
    )


def _encode(message: Mapping[str, Any]) -> str:
    return dump_json(message).decode("ascii")


def _task(data: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """The field that holds the task, and the task's turns."""
    for field in QUESTION_FIELDS:
        if value := data.get(field):
            if isinstance(value, list):
                return field, value
            return field, [{"role": "user", "content": read_text(value, f"$.data.{field}")}]
    wanted = ", ".join(f"`{field}`" for field in QUESTION_FIELDS)
    raise WireError("$.data", f"has none of {wanted}; send the task in one of them")


def _generated(message: Mapping[str, Any]) -> tuple[str, tuple[str, ...]]:
    """The text of the first choice, and its other content; further choices would be other rollouts."""
    value: Any = message
    path = "$"
    for part in ("data", "choices", 0, "message", "content"):
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
        try:
            value = value[part]
        except (KeyError, IndexError, TypeError):
            raise WireError(path, "is not there; a generated answer is expected") from None
    return read_text(value, path), unseen_in(value)


def _range(message: Mapping[str, Any]) -> tuple[float, float]:
    rewards = message.get("rewards") or {}
    found = rewards.get("range") if isinstance(rewards, dict) else rewards
    if found is None:
        return 0.0, 1.0
    path = "$.rewards.range"
    if not isinstance(found, list) or len(found) != 2 or not all(map(_is_number, found)):
        raise WireError(path, "must be two finite numbers")
    low, high = float(found[0]), float(found[1])
    if not low < high or math.isinf(high - low):
        raise WireError(path, "must be a lower and a higher number")
    return low, high


def _is_number(value: Any) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond a float's range
        return False
