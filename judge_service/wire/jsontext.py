"""Reads and writes JSON text; every failure is a named error."""

import json
import math
from typing import Any, NoReturn

import msgspec

from judge_service.errors import WireError

_encode_ascii = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_encode_readable = json.JSONEncoder(
    allow_nan=False, separators=(",", ":"), ensure_ascii=False
).encode


def read_json(data: bytes | str, *, max_bytes: int) -> Any:
    r"""Reads JSON text.

    max_bytes: limit of the text as UTF-8; a longer text is refused before it is parsed.

    Lone surrogates (`"\ud800"`) stay in the strings, as with the standard library, because an id must be
    returned unchanged; `decode_row` replaces them in texts that are judged. Integers are exact up to
    Python's limit of 4,300 digits.

    Raises WireError, and nothing else, for text that is too long, malformed or too deep, for NaN and
    Infinity, and for numbers beyond the range of a float.
    """
    if len(data) > max_bytes:
        _refuse_size(max_bytes)
    if isinstance(data, str):
        data = data.encode("utf-8", "surrogatepass")
        if len(data) > max_bytes:
            _refuse_size(max_bytes)
    return parse(data, "$")


def parse(data: bytes, path: str) -> Any:
    """Reads JSON text whose size was checked before. path: its place in the event, for errors."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _parse_slowly(data, path)


def dump_json(value: Any) -> bytes:
    """Writes JSON as ASCII, so that a lone surrogate in an id is written as the escape that it was.

    It uses the standard library's encoder, because msgspec silently writes NaN as `null`.

    Raises ValueError for NaN and Infinity, TypeError for types that JSON does not have.
    """
    return _encode_ascii(value).encode("ascii")


def render(value: Any, path: str) -> str:
    """Compact JSON without escapes, for the judge to read. Raises WireError for what JSON cannot hold."""
    try:
        return _encode_readable(value)
    except (ValueError, TypeError, RecursionError):
        raise WireError(
            path, "cannot be written as JSON (NaN, or too deep); send it as text"
        ) from None


def _refuse_size(max_bytes: int) -> NoReturn:
    raise WireError("$", f"is longer than {max_bytes:,} bytes; send smaller batches")


def _parse_slowly(data: bytes, path: str) -> Any:
    """Parses legal JSON that msgspec refuses: lone surrogates, a byte order mark."""
    try:
        text = data.decode("utf-8-sig", "surrogatepass")
        return json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except UnicodeDecodeError as problem:
        raise WireError(path, f"is not UTF-8 at byte {problem.start}; send UTF-8") from None
    except json.JSONDecodeError as problem:
        where = f"line {problem.lineno}, column {problem.colno}"
        raise WireError(path, f"is not JSON ({problem.msg}, {where})") from None
    except RecursionError:
        raise WireError(path, "is nested too deep; a batch needs no more than ten levels") from None
    except ValueError:
        raise WireError(path, "holds NaN, Infinity or a number beyond a float's range") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number
