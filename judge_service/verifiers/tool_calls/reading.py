"""Reads tool calls in the forms of models and data sets: JSON, or Python call syntax.

Python syntax is parsed, never run, and arguments must be literals. Text beyond `MAX_CHARS`, more calls than
`MAX_CALLS` and deep nesting are not read.
"""

import ast
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

MAX_CHARS = 20_000
"""Characters of a response's end that are read; the wire puts tool calls there."""

MAX_PYTHON_CHARS = 4_000
"""Limits of Python syntax: its parser takes up to 5 us a character, and stack for depth."""

MAX_CALLS = 32

TAGGED = re.compile(r"<tool_call>([^<]*+(?:<(?!/?tool_call>)[^<]*+)*+)</tool_call>")
FENCED = re.compile(r"^```\w{0,20}[ \t]{0,20}\n((?:(?!```).*\n)*+)```", re.MULTILINE)
SPELLED = {"true": True, "false": False, "null": None}
ARGUMENT_KEYS = ("arguments", "input", "parameters", "args")
WRAPPERS = ("function", "toolUse", "function_call")
UNREADABLE = (ValueError, SyntaxError, RecursionError, MemoryError)


class Call(Struct, frozen=True):
    """A call; arguments without a name are named by their position, `#0`, `#1`."""

    name: str
    arguments: Mapping[str, Any]


class TooManyCalls(ValueError):
    """There are more calls than `MAX_CALLS`."""


def calls_in(text: str) -> list[Call]:
    """The calls of a response: in tags, as the whole text, in fences, or on lines.

    Empty when there are none. Raises TooManyCalls.
    """
    text = text[-MAX_CHARS:].strip()
    for pieces in (TAGGED.findall(text), [text], FENCED.findall(text), text.splitlines()):
        calls: list[Call] = []
        for piece in pieces:
            calls += _calls(piece.strip())
            if len(calls) > MAX_CALLS:
                raise TooManyCalls
        if calls:
            return calls
    return []


def calls_of(value: Any) -> list[Call] | None:
    """The calls in a JSON value, `None` if it holds something else.

    It is one call or a list, in the form of OpenAI, Bedrock, Anthropic, or `{name: arguments}`.
    """
    items = value if isinstance(value, list) else [value]
    calls = [call for item in items if (call := _call(item)) is not None]
    return calls if len(calls) == len(items) else None


def _calls(piece: str) -> list[Call]:
    if piece[:1] in ("{", "["):
        try:
            if calls := calls_of(msgspec.json.decode(piece)):
                return calls
        except UNREADABLE:  # Python's syntax can begin like this too
            pass
    if piece[-1:] in (")", "]", ";") and "(" in piece and len(piece) <= MAX_PYTHON_CHARS:
        try:
            return list(_python_calls(piece))
        except UNREADABLE:
            pass
    return []


def _call(item: Any) -> Call | None:
    if not isinstance(item, dict):
        return None
    for wrapper in WRAPPERS:
        if isinstance(item.get(wrapper), dict):
            return _call(item[wrapper])
    if isinstance(name := item.get("name"), str):
        arguments: Any = next((item[key] for key in ARGUMENT_KEYS if key in item), {})
    elif len(item) == 1:
        ((name, arguments),) = item.items()
    else:
        return None
    if isinstance(arguments, str):  # JSON within JSON, as OpenAI sends it
        arguments = _decoded(arguments)
    return Call(name, arguments) if isinstance(arguments, dict) else None


def _decoded(text: str) -> Any:
    try:
        return msgspec.json.decode(text) if text.strip() else {}
    except UNREADABLE:
        return None


def _python_calls(text: str) -> Iterator[Call]:
    """The calls in Python syntax. Raises one of UNREADABLE unless they are calls with literal arguments."""
    with warnings.catch_warnings(
        action="ignore"
    ):  # about escapes in strings: it is not our program
        statements = ast.parse(text).body
    for statement in statements:
        if not isinstance(statement, ast.Expr):
            raise ValueError(statement)  # noqa: TRY004  the caller takes any unreadable text alike
        value = statement.value
        for node in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            yield _python_call(node)


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError(node)  # noqa: TRY004  see above
    arguments = {f"#{place}": _literal(value) for place, value in enumerate(node.args)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError(keyword)
        arguments[keyword.arg] = _literal(keyword.value)
    return Call(".".join(_dotted(node.func)), arguments)


def _dotted(node: ast.expr) -> list[str]:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        raise ValueError(node)  # noqa: TRY004  see above
    return [node.id, *reversed(parts)]


def _literal(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=None | bool() | int() | float() | str()):
            return node.value
        case ast.Name() if node.id in SPELLED:
            return SPELLED[node.id]
        case ast.List() | ast.Tuple() | ast.Set():
            return _literals(node.elts)
        case ast.Dict():
            keys = _literals(key for key in node.keys if key is not None)
            if len(keys) == len(node.values):
                return {
                    str(key): _literal(item) for key, item in zip(keys, node.values, strict=True)
                }
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as number)):
            return -number
    raise ValueError(node)


def _literals(nodes: Iterable[ast.expr]) -> list[Any]:
    return [_literal(node) for node in nodes]
