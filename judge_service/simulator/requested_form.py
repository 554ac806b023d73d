"""What a prompt in plain words asks for, as a JSON schema: a number, or one line of JSON."""

import re
from collections.abc import Mapping
from typing import Any

TAIL_CHARACTERS = 8_000
"""Only the end of a prompt is searched: there stands what is asked for."""
LAST_LINE_CHARACTERS = 200
"""A longer line is the candidate's text rather than an instruction, and dear to search (10 us a kB)."""
SHAPE = re.compile(r'\{("[^"{}\n]+": ?\.\.\.(?:, ?"[^"{}\n]+": ?\.\.\.)*)\}')
SHAPE_KEY = re.compile(r'"([^"{}\n]+)":')
ONE_OF = re.compile(r"one of (-?\d{1,9}(?:\.\d{1,9})?(?:, ?-?\d{1,9}(?:\.\d{1,9})?)*)", re.ASCII)


def requested_schema(prompt: str) -> Mapping[str, Any]:
    """The last shape such as `{"safety": ..., "format": ...}`, else a number.

    A number's scale is read from `name (between 1 and 5)` or `name (one of 0, 1, 2)`, for a lone
    number from the end of the prompt's last line; it is 0 to 1 where nothing is said.
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
