"""Finds JSON objects and lists in a text, in fences or between words; linear in the text."""

import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

MAX_JSON_CHARS = 50_000
"""Longest JSON that is read."""

MAX_DEPTH = 64

INTEGERS = range(-(2**63), 2**64)
"""Bits of the largest integer; larger ones overflow the arithmetic of schemas."""

EXACT_FLOAT = 2**53
"""Largest whole float that equals its integer exactly."""

MAX_NODES = 5_000
"""Most objects, lists and values; the cost of a schema is a multiple of their number."""

FENCE = re.compile(r"^[ \t]{0,3}(?:```|~~~)[^\n`]{0,40}$", re.MULTILINE)
PART = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|$)|[{}\[\]]', re.DOTALL)
BRACKET = re.compile(r"[\[{]")

Take = Literal["first", "last", "whole"]

NOTHING = object()
"""Means that there is no JSON; `None` is JSON's null."""


def find(text: str, take: Take) -> Any:
    """Finds the first or last readable object or list, or the whole text's value; else `NOTHING`.

    JSON in a fence has precedence.
    """
    if take == "whole":
        return read(text.strip())
    text = text[-MAX_JSON_CHARS:] if take == "last" else text[:MAX_JSON_CHARS]
    for candidates in (_fenced(text), list(bare(text))):
        for candidate in reversed(candidates) if take == "last" else candidates:
            if (value := read(candidate)) is not NOTHING:
                return value
    return NOTHING


def read(text: str) -> Any:
    """The value of a JSON text, `NOTHING` if it is not JSON or too large."""
    if not text or len(text) > MAX_JSON_CHARS:
        return NOTHING
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return NOTHING
    return value if _is_small(value) else NOTHING


def _is_small(value: Any) -> bool:
    nodes, level = 0, [value]
    for _ in range(MAX_DEPTH):
        nodes += len(level)
        if not level or nodes > MAX_NODES or any(_overflows(inner) for inner in level):
            break
        level = [inner for outer in level for inner in _inside(outer)]
    return not level


def _overflows(value: Any) -> bool:
    return isinstance(value, int) and value not in INTEGERS


def _inside(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _fenced(text: str) -> list[str]:
    marks = list(FENCE.finditer(text))
    pairs = zip(marks[::2], marks[1::2], strict=False)
    return [text[opened.end() : closed.start()].strip() for opened, closed in pairs]


def bare(text: str) -> Iterator[str]:
    """The balanced outermost pieces, in the order of their ends; quotes count only inside a piece."""
    start = place = depth = 0
    while opening := BRACKET.search(text, place):
        start, depth = opening.start(), 0
        for part in PART.finditer(text, start):
            depth += (part[0] in "{[") - (part[0] in "}]")
            if depth == 0:
                yield text[start : part.end()]
                place = part.end()
                break
        else:
            return


def canonical(value: Any) -> bytes:
    """The text of a JSON value, equal for equal values: 1 equals 1.0, but not true."""
    return msgspec.json.encode(_whole_numbers(value), order="sorted")


def _whole_numbers(value: Any) -> Any:
    if isinstance(value, float) and value.is_integer() and abs(value) <= EXACT_FLOAT:
        return int(value)
    if isinstance(value, list):
        return [_whole_numbers(inner) for inner in value]
    if isinstance(value, dict):
        return {name: _whole_numbers(inner) for name, inner in value.items()}
    return value
