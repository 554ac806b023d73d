"""JSON bodies of requests and replies. A reply may not be JSON at all.

A good reply goes through a typed decoder. What that decoder does not accept is read once more by
`read_leniently`, which is ten times slower and accepts what servers really send: a byte order mark, NaN, lone
surrogates, compressed bytes. It also sees keys that occur twice in one object, which msgspec does not.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from judge_service.errors import Denied
from judge_service.http.failures import unreadable

T = TypeVar("T")

NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""All errors that msgspec raises on hostile bytes."""

MAX_UNPACKED_BYTES = 4_000_000
"""Most bytes that a compressed body may become."""

_GZIP, _ZLIB = b"\x1f\x8b", (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")


class Doubled(dict[str, Any]):
    """A JSON object that has a key twice, with different values: it says two things."""


def encode_body(body: Mapping[str, Any]) -> bytes:
    """Encodes JSON. Raises Denied for text with a lone surrogate."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError as problem:
        raise Denied("the prompt holds a lone surrogate, which cannot be sent") from problem


def encode_any(value: Any) -> bytes:
    """Encodes what `undoubled` returned, NaN as it came; `null` for what is nested too deep."""
    try:
        return json.dumps(value).encode()
    except (ValueError, RecursionError):
        return b"null"


def decode_body(decoder: msgspec.json.Decoder[T], body: bytes) -> T:
    """Decodes a reply. Raises Unavailable if `decoder` does not accept it."""
    try:
        return decoder.decode(body)
    except RecursionError:
        raise unreadable("it is nested too deep") from None
    except NOT_JSON as problem:
        raise unreadable(str(problem)) from None


def read_object(body: bytes | str) -> dict[str, Any]:
    """Decodes a JSON object, or the first object of a list; returns an empty one for anything else."""
    try:
        value = msgspec.json.decode(body)
    except NOT_JSON:
        value = read_value(body)
    if isinstance(value, list) and value:  # Google wraps its errors like this
        value = value[0]
    return value if isinstance(value, dict) else {}


def read_value(body: bytes | str) -> Any:
    """Decodes JSON of any form, `None` for what is not JSON."""
    try:
        return read_leniently(body)
    except ValueError:
        return None


def read_leniently(body: bytes | str, *, is_verdict: bool = False) -> Any:
    """Decodes JSON that is not quite JSON, see above. An object with a key twice is a `Doubled`.

    is_verdict: takes no NaN and no bare control characters, which a whole verdict does not have.

    Raises ValueError, whose message says what is wrong.
    """
    text = body if isinstance(body, str) else _text_of(body)
    try:
        return (_STRICT if is_verdict else _DECODER).decode(text.strip("\ufeff \t\r\n\0"))
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except ValueError as problem:
        place = f" (character {problem.pos})" if isinstance(problem, json.JSONDecodeError) else ""
        what = "JSON is malformed" if text.strip() else "it is empty"
        raise ValueError(f"{what}{place}") from None


def clean(text: str) -> str:
    """`text` without lone surrogates, which can be neither stored nor sent."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def undoubled(value: Any) -> Any:
    """Parsed JSON with `None` for each object that has a key twice, and clean texts."""
    if isinstance(value, str):
        return clean(value)
    if isinstance(value, Doubled):
        return None
    if isinstance(value, dict):
        return {clean(key): undoubled(one) for key, one in value.items()}
    return [undoubled(one) for one in value] if isinstance(value, list) else value


def _text_of(body: bytes) -> str:
    plain = _unpacked(body)
    return plain.decode(json.detect_encoding(plain), "replace")


def _unpacked(body: bytes) -> bytes:
    """The body as it was before a server or proxy compressed it, which we never ask for."""
    if body[:2] != _GZIP and body[:2] not in _ZLIB:
        return body
    unpack = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpack.decompress(body, MAX_UNPACKED_BYTES)
    except zlib.error:
        raise ValueError("it is compressed, and broken") from None
    if unpack.unconsumed_tail or not unpack.eof:
        raise ValueError(f"it is compressed, and cut or longer than {MAX_UNPACKED_BYTES} bytes")
    return plain


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs) and any(found[key] != value for key, value in pairs):
        return Doubled(found)
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, strict=False)
_STRICT = json.JSONDecoder(object_pairs_hook=_object, parse_constant=_refuse_constant)
