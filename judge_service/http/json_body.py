"""JSON bodies of requests and replies. A reply may not be JSON at all."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from judge_service.errors import Denied
from judge_service.http.failures import unreadable

T = TypeVar("T")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All errors that msgspec raises on hostile bytes."""


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Encodes JSON. Raises Denied for text with a lone surrogate."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as problem:
        raise Denied("the prompt holds a lone surrogate, which cannot be sent") from problem


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decodes a reply. Raises Unavailable if `decoder` does not accept it."""
    try:
        return decoder.decode(body)
    except RecursionError:
        raise unreadable("it is nested too deep") from None
    except NOT_JSON as problem:
        raise unreadable(str(problem)) from None


def read_object(body: bytes | str) -> dict[str, Any]:
    """Decodes a JSON object; returns an empty one for anything else."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        return {}
    return value if isinstance(value, dict) else {}
