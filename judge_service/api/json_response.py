"""JSON responses, encoded by msgspec."""

from typing import Any

import msgspec
from starlette.responses import Response

from judge_service.wire import dump_json

_encode = msgspec.json.Encoder().encode


def encode(value: Any) -> bytes:
    """Encodes a value whose numbers are all finite (msgspec would write `null` for others)."""
    try:
        return _encode(value)
    except (UnicodeEncodeError, OverflowError):  # a lone surrogate or a huge integer in an id
        return dump_json(msgspec.to_builtins(value))


def json_response(value: Any) -> Response:
    """A response with status 200 and the value as JSON."""
    return Response(encode(value), media_type="application/json")
