"""slime's remote reward: reads one rollout and returns one object."""

from typing import Any

from judge_service.errors import WireError
from judge_service.values import Sample
from judge_service.wire.content import name_of
from judge_service.wire.replies import Answer
from judge_service.wire.rows import decode_row


def decode_slime(body: Any) -> Sample:
    """Reads `{"prompt": text or messages, "response": text, "label": text or null}`.

    Raises WireError, and nothing else.
    """
    if not isinstance(body, dict):
        raise WireError("$", f"must be an object with `prompt`, not {name_of(body)}")
    if "prompt" not in body or "response" not in body:
        raise WireError("$", "must have `prompt` and `response`; send both")
    label = body.get("label")
    return decode_row(
        {"prompt": body["prompt"], "response": body["response"], "reference_answer": label}
    )


def encode_slime(answer: Answer) -> dict[str, float]:
    """Writes `score` (for `--reward-key score`), a number for each criterion, and `judge_failed`, which is 1
    if the score is a substitute.
    """
    numbers = {metric.name: metric.value for metric in answer.metrics}
    failed = numbers.pop("unscored")
    return {**numbers, "score": answer.score, "judge_failed": failed}
