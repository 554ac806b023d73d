"""JSON bodies of requests and replies. What arrives is not trusted to be JSON at all."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from judge_service.errors import Denied
from judge_service.http.failures import unreadable

T = TypeVar("T")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""Everything that msgspec raises on hostile bytes."""


def encode_body(body: Mapping[str, Any]) -> bytes:
    """JSON bytes. Raises Denied for text that is no Unicode (a lone surrogate)."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as problem:
        raise Denied("the prompt holds a lone surrogate, which no judge can be sent") from problem


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """A reply that must be what `decoder` expects. Raises Unavailable if it is not."""
    try:
        return decoder.decode(body)
    except RecursionError:
        raise unreadable("it is nested too deep") from None
    except NOT_JSON as problem:
        raise unreadable(str(problem)) from None


def read_object(body: bytes | str) -> dict[str, Any]:
    """A JSON object, empty when it is anything else."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return {}
    return value if isinstance(value, dict) else {}
