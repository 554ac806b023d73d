"""Writes answers in the form that a trainer reads. Every number in them is finite."""

import json
from collections.abc import Sequence
from typing import Any, Literal

from msgspec import Struct

from judge_service.errors import WireError
from judge_service.wire.events import Envelope
from judge_service.wire.jsontext import dump_json

HEADERS = {"content-type": "application/json"}


class Metric(Struct, frozen=True):
    """A number in addition to the score: `Reward` for a criterion's score, `Metric` for anything else.

    AWS defines the two words; they are case-sensitive.
    """

    name: str
    value: float
    type: Literal["Reward", "Metric"]


class Answer(Struct, frozen=True, kw_only=True):
    """The answer for one row.

    id: as sent.
    score: finite, in the wire range; a substitute when `unscored`.
    unscored: the row was not judged; `reason` (a word of `values.UNSCORED_REASONS`) and `detail` say why.
    """

    id: Any
    score: float
    metrics: tuple[Metric, ...] = ()
    unscored: bool = False
    reason: str | None = None
    detail: str = ""


def encode_item(answer: Answer) -> dict[str, Any]:
    """Writes one answer in the form of AWS's reward contract.

    It never has a key `errorMessage` or `errorType`: AWS's verifier takes those for a crashed function.
    """
    item = {
        "id": answer.id,
        "aggregate_reward_score": answer.score,
        "metrics_list": [
            {"name": metric.name, "value": metric.value, "type": metric.type}
            for metric in answer.metrics
        ],
    }
    if answer.unscored:
        item["unscored_reason"] = answer.reason
    return item


def encode_reply(
    answers: Sequence[Answer], envelope: Envelope, max_bytes: int | None = None
) -> list[dict[str, Any]] | dict[str, Any]:
    """Writes the whole reply: a list of items, or an HTTP-like message with that list as JSON text.

    max_bytes: limit of the reply as JSON text, as the Lambda runtime writes it. A longer reply loses its
        explanations first: `unscored_reason`, then the metrics that do not belong to a criterion.

    Raises WireError if it is still longer.
    """
    items = [encode_item(answer) for answer in answers]
    if max_bytes is None:
        return items if envelope == "list" else _message(200, items)
    for shorten in (_keep_all, _drop_reason, _drop_metrics):
        for item in items:
            shorten(item)
        reply = items if envelope == "list" else _message(200, items)
        size = len(json.dumps(reply))
        if size <= max_bytes:
            return reply
    raise WireError(
        "$",
        f"the reply to {len(items)} rows takes {size:,} bytes without its explanations, more than the"
        f" {max_bytes:,} of `function.max_reply_bytes`; send smaller batches, or shorter ids",
    )


def _keep_all(_item: dict[str, Any]) -> None:
    """Keeps everything."""


def _drop_reason(item: dict[str, Any]) -> None:
    item.pop("unscored_reason", None)


def _drop_metrics(item: dict[str, Any]) -> None:
    item["metrics_list"] = [one for one in item["metrics_list"] if one["type"] == "Reward"]


def encode_error(error: Exception, status: int) -> dict[str, Any]:
    """Writes an error as an HTTP-like message. status: 400 for a bad batch, 500 for a failed one."""
    return _message(status, {"error": str(error)})


def _message(status: int, body: Any) -> dict[str, Any]:
    return {"statusCode": status, "headers": dict(HEADERS), "body": dump_json(body).decode("ascii")}
