"""Picks what is needed out of a reply of any form, and nothing else.

Used where the typed decoder gave up: a field that nobody needs had another type, or the reply is wrapped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import isfinite
from typing import Any

from judge_service.http.json_body import clean, encode_any, read_leniently, undoubled

_WRAPPERS = (
    "body",
    "data",
    "response",
    "result",
    "output",
    "outputs",
    "completion",
    "predictions",
    "reply",
)
"""Keys under which gateways put the reply of the server behind them."""

_MAX_DEPTH = 4
_MAX_COUNT = 2**53
_OF_PARTS = frozenset({"type", "text", "parts"})
_THOUGHTS = ("think", "thought", "reason")


def unwrap(
    value: Any, is_reply: Callable[[Mapping[str, Any]], bool], depth: int = _MAX_DEPTH
) -> Mapping[str, Any] | None:
    """The object in `value` for which `is_reply` holds: itself, or in a list, a wrapper or a JSON string."""
    if isinstance(value, str) and depth:
        try:
            value = read_leniently(value)
        except ValueError:
            return None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        return None
    if is_reply(value):
        return value
    if depth == 0:
        return None
    found = (unwrap(value[key], is_reply, depth - 1) for key in _WRAPPERS if key in value)
    return next((one for one in found if one is not None), None)


def count(value: Any) -> int:
    """A number of tokens, 0 if it is none."""
    if isinstance(value, str) and value.isascii() and value.strip().isdigit():
        value = int(value[:20])
    if (
        isinstance(value, bool)
        or not isinstance(value, (int, float))
        or not 0 <= value < _MAX_COUNT
    ):
        return 0
    return int(value)


def table(value: Any) -> Mapping[str, Any]:
    """An object, an empty one for anything else."""
    return value if isinstance(value, Mapping) else {}


def texts_in(content: Any) -> Iterator[str]:
    """The texts of an answer's content: a text, parts of one, or a value that is JSON already."""
    if isinstance(content, str):
        yield clean(content)
    elif isinstance(content, Sequence):
        for part in content:
            yield from _text_of(part) if isinstance(part, Mapping) else texts_in(part)
    elif isinstance(content, Mapping):
        if content.keys() & _OF_PARTS:
            yield from _text_of(content)
        else:  # a server that has parsed the answer
            yield encode_any(undoubled(content)).decode()
    elif isinstance(content, (int, float)) and not isinstance(content, bool) and isfinite(content):
        yield str(content)


def _text_of(part: Mapping[str, Any]) -> Iterator[str]:
    kind = part.get("type")
    if isinstance(kind, str) and any(word in kind.lower() for word in _THOUGHTS):
        return
    if part.get("thought") is True:  # Google marks reasoning like this
        return
    if "parts" in part:
        yield from texts_in(part["parts"])
    text = part.get("text")
    if isinstance(text, Mapping):
        text = text.get("value")
    if not isinstance(text, (Mapping, list)):
        yield from texts_in(text)
