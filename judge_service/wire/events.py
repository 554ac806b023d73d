"""Reads a trainer's call, in any envelope, as a batch of samples."""

import base64
import binascii
from typing import Any, Literal

from msgspec import Struct

from judge_service.errors import WireError
from judge_service.values import Sample
from judge_service.wire.content import name_of
from judge_service.wire.jsontext import parse
from judge_service.wire.rows import ANSWER_FIELDS, decode_row

Envelope = Literal["list", "http"]
"""The envelope of a batch and its reply: none, or the body of an HTTP-like message."""

ROW_FIELDS = ("messages", "prompt", "query", "model_response")
"""An object with one of these fields is a row, whatever else it has."""

OTHER_TASK_FIELDS = ("problem", "question", "instruction")
"""An object with one of these, or with a text as `input` and an answer, is a row if it has no wrapper."""

WRAPPERS = ("body", "batch", "input", "trajectories")

MAX_WRAPPERS = 4
"""Most nested wrappers that are opened; trainers use two (`body` with `batch` inside)."""


class Batch(Struct, frozen=True):
    """The samples of one call. A call with an empty list is a batch without samples."""

    samples: tuple[Sample, ...]
    envelope: Envelope = "list"


def decode_event(event: Any) -> Batch:
    """Reads a call: a list of rows or one row, either of them possibly in a wrapper.

    event: parsed JSON; it may hold what `json.loads` accepts (NaN, lone surrogates).

    Raises WireError, and nothing else; it names the field that cannot be read.
    """
    rows, path = _unwrap(event, "$", 0)
    if isinstance(rows, dict):
        samples: tuple[Sample, ...] = (decode_row(rows, path),)
    else:
        samples = tuple([decode_row(row, f"{path}[{i}]") for i, row in enumerate(rows)])
    return Batch(samples, "http" if is_http_event(event) else "list")


def is_http_event(event: Any) -> bool:
    """Whether the caller expects an HTTP-like answer. Works for unreadable events too."""
    return isinstance(event, dict) and _wrapper_of(event) == "body"


def _wrapper_of(event: dict[str, Any]) -> str | None:
    if any(field in event for field in ROW_FIELDS):
        return None
    return next(
        (field for field in WRAPPERS if field in event and not _is_task(field, event)), None
    )


def _is_task(field: str, event: dict[str, Any]) -> bool:
    """Whether a wrapper's name holds the task of a row: a text, with an answer beside it."""
    return (
        field == "input"
        and isinstance(event["input"], str)
        and any(answer in event for answer in ANSWER_FIELDS)
    )


def is_wrapped(event: Any) -> bool:
    """Whether an object holds rows in a wrapper, and is no row itself."""
    if not isinstance(event, dict) or (wrapper := _wrapper_of(event)) is None:
        return False
    return wrapper == "body" or isinstance(event[wrapper], list | dict)


def _unwrap(event: Any, path: str, depth: int) -> tuple[Any, str]:
    """The list of rows or the single row in `event`, and its path."""
    if isinstance(event, list | tuple):
        return event, path
    if not isinstance(event, dict):
        raise WireError(path, f"must be a list of rows or an object, not {name_of(event)}")
    wrapper = _wrapper_of(event)
    if wrapper is None:
        return _require_row(event, path), path
    if depth == MAX_WRAPPERS:
        raise WireError(path, f"is wrapped more than {MAX_WRAPPERS} times; send the list of rows")
    inner, path = event[wrapper], f"{path}.{wrapper}"
    if wrapper == "body" and isinstance(inner, str):
        inner = parse(_body_bytes(inner, event, path), path)
    return _unwrap(inner, path, depth + 1)


def _require_row(event: dict[str, Any], path: str) -> dict[str, Any]:
    known = (*ROW_FIELDS, *OTHER_TASK_FIELDS, "input")
    if not any(field in event for field in known):
        fields = ", ".join(f"`{field}`" for field in dict.fromkeys((*WRAPPERS, *known)))
        raise WireError(path, f"is an object with none of {fields}; send a list of rows")
    return event


def _body_bytes(body: str, event: dict[str, Any], path: str) -> bytes:
    data = body.encode("utf-8", "surrogatepass")
    if event.get("isBase64Encoded") is not True:
        return data
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise WireError(path, "is not Base64, though `isBase64Encoded` is true") from None
