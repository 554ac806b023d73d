"""Reads tool calls in the forms of models and data sets: JSON, or Python call syntax.

Python syntax is parsed, never run, and arguments must be literals. Text beyond `MAX_CHARS`, more calls than
`MAX_CALLS` and deep nesting are not read.
"""

import ast
import keyword
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.verifiers.json_text import bare
from judge_service.verifiers.tool_calls.markup import AFTER, TAGGED, named_calls

MAX_CHARS = 20_000
"""Characters of a response's end that are read; the wire puts tool calls there."""

MAX_PYTHON_CHARS = 4_000
"""Limits of Python syntax: its parser takes up to 5 us a character, and stack for depth."""

MAX_CALLS = 32

FENCED = re.compile(r"^```\w{0,20}[ \t]{0,20}\n((?:(?!```).*\n)*+)```", re.MULTILINE)
SEPARATOR = re.compile(r";\s|\n")
RENAMED = "renamed_9f3_"
KEYWORD = re.compile(rf"([(,]\s{{0,9}})({'|'.join(keyword.kwlist)})(?=\s?=[^=])")
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
    """The calls of a response: in a model's marks, as the whole text, in fences, on lines, in a sentence.

    Empty when there are none. Raises TooManyCalls.
    """
    text = text[-MAX_CHARS:].strip()
    for pieces in _places(text):
        calls: list[Call] = []
        for piece in pieces:
            calls += _calls(piece.strip())
            if len(calls) > MAX_CALLS:
                raise TooManyCalls
        if calls:
            return calls
    return []


def _places(text: str) -> Iterator[list[str]]:
    """Where calls may stand, in the order of precedence."""
    if "<" in text or "[TOOL" in text or "functools" in text:
        yield TAGGED.findall(text)
        yield [text] if any(named_calls(text)) else []
        if mark := AFTER.search(text):
            yield [text[mark.end() :]]
            yield SEPARATOR.split(text[mark.end() :])
    yield [text]
    yield FENCED.findall(text)
    yield [line.strip().strip("`") for line in text.splitlines()]
    yield list(bare(text)) if "{" in text else []


def calls_of(value: Any) -> list[Call] | None:
    """The calls in a JSON value, `None` if it holds something else.

    It is one call or a list, in the form of OpenAI, Bedrock, Anthropic, or `{name: arguments}`.
    """
    if isinstance(value, dict) and isinstance(value.get("tool_calls"), list):  # a whole message
        value = value["tool_calls"]
    items = value if isinstance(value, list) else [value]
    calls = [call for item in items if (call := _call(item)) is not None]
    return calls if len(calls) == len(items) else None


def _calls(piece: str) -> list[Call]:
    if "<" in piece or "[TOOL" in piece:
        named = [call for name, body in named_calls(piece) if (call := _named(name, body))]
        if named:
            return named
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


def _named(name: str, body: str | dict[str, str]) -> Call | None:
    """A call whose name stands in the markup. Parameters are JSON where they can be, else texts."""
    if isinstance(body, dict):
        read = {key: _decoded(value) for key, value in body.items()}
        return Call(name, {key: body[key] if one is None else one for key, one in read.items()})
    arguments = _decoded(body)
    return Call(name, arguments) if isinstance(arguments, dict) else None


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
        statements = _parsed(text)
    for statement in statements:
        if not isinstance(statement, ast.Expr):
            raise ValueError(statement)  # noqa: TRY004  the caller takes any unreadable text alike
        value = statement.value
        for node in value.elts if isinstance(value, ast.List | ast.Tuple) else [value]:
            yield _python_call(node)


def _parsed(text: str) -> list[ast.stmt]:
    """The statements of a text; an argument may have a keyword of Python as its name, such as `from=`."""
    try:
        return ast.parse(text).body
    except SyntaxError:
        return ast.parse(KEYWORD.sub(rf"\1{RENAMED}\2", text)).body


def _python_call(node: ast.expr) -> Call:
    if not isinstance(node, ast.Call):
        raise ValueError(node)  # noqa: TRY004  see above
    arguments = {f"#{place}": _literal(value) for place, value in enumerate(node.args)}
    for given in node.keywords:
        if given.arg is None or given.arg in arguments:
            raise ValueError(given)
        arguments[given.arg.removeprefix(RENAMED)] = _literal(given.value)
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
        case ast.Constant(value=None | bool() | int() | float() | str() as value):
            return value.replace(RENAMED, "") if isinstance(value, str) else value
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
        case ast.UnaryOp(op=sign, operand=ast.Constant(value=int() | float() as number)) if (
            isinstance(sign, ast.USub | ast.UAdd)
        ):
            return -number if isinstance(sign, ast.USub) else number
    raise ValueError(node)


def _literals(nodes: Iterable[ast.expr]) -> list[Any]:
    return [_literal(node) for node in nodes]
