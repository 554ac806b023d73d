"""The answer that a prompt's text asks for, as a JSON schema: a number, or one line of JSON."""

import re
from collections.abc import Mapping
from typing import Any

TAIL_CHARACTERS = 8_000
"""Only the end of a prompt is searched, because it says which answer is wanted."""
LAST_LINE_CHARACTERS = 200
"""A longer line is probably the candidate's text, and searching it is expensive (10 us a kB)."""
SHAPE = re.compile(r'\{("[^"{}\n]+": ?\.\.\.(?:, ?"[^"{}\n]+": ?\.\.\.)*)\}')
SHAPE_KEY = re.compile(r'"([^"{}\n]+)":')
ONE_OF = re.compile(r"one of (-?\d{1,9}(?:\.\d{1,9})?(?:, ?-?\d{1,9}(?:\.\d{1,9})?)*)", re.ASCII)


def requested_schema(prompt: str) -> Mapping[str, Any]:
    """The schema of the last shape such as `{"safety": ..., "format": ...}`, else of a number.

    A number's scale is read from `name (between 1 and 5)` or `name (one of 0, 1, 2)`, and for a single
    number from the end of the prompt's last line; the default is 0 to 1.
    """
    tail = prompt[-TAIL_CHARACTERS:]
    shapes = SHAPE.findall(tail)
    if not shapes:
        return _number(tail.rstrip().rpartition("\n")[2][-LAST_LINE_CHARACTERS:])
    names = SHAPE_KEY.findall(shapes[-1])
    return {"type": "object", "properties": {name: _number(_words(name, tail)) for name in names}}


def _words(name: str, text: str) -> str:
    found = re.search(rf"\b{re.escape(name)} ?[(:] ?([^)\n]*)", text)
    return found[1] if found else ""


def _number(words: str) -> Mapping[str, Any]:
    choices = ONE_OF.search(words)
    if choices is None:
        return {"type": "number", "description": words}
    return {"enum": [float(n) if "." in n else int(n) for n in choices[1].split(",")]}
