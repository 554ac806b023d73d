"""Users' JSON Schemas, bounded: without network, `re` and recursion, and of limited size.

Nested references (`$ref` to `$ref` to `$ref`) can make a small schema exponentially expensive, so references
are written out up to `MAX_STEPS` nodes.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import date, time
from fractions import Fraction
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address
from typing import Any
from urllib.parse import unquote

import msgspec
from jsonschema import Draft202012Validator, FormatChecker, ValidationError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.exceptions import SchemaError  # type: ignore[import-untyped]  # it ships no types
from jsonschema.protocols import Validator  # type: ignore[import-untyped]  # it ships no types
from jsonschema.validators import extend  # type: ignore[import-untyped]  # it ships no types
from referencing import Registry

from judge_service.errors import RubricError
from judge_service.verifiers.json_text import MAX_JSON_CHARS, MAX_NODES, NOTHING, canonical, read
from judge_service.verifiers.pattern import MAX_TEXT_CHARS, compiled

MAX_STEPS = 5_000
"""Most nodes of the schema with all references written out."""

MAX_DEPTH = 60

REFUSED = (
    "$id",
    "$anchor",
    "$dynamicRef",
    "$dynamicAnchor",
    "$recursiveRef",
    "patternProperties",
    "unevaluatedProperties",
    "unevaluatedItems",
)
"""Keywords that are refused: they refer elsewhere, use `re`, or cost more than the schema's size shows."""


def encoded(schema: Any, where: str) -> bytes:
    """The schema as JSON. Raises RubricError if it is not JSON."""
    try:
        return msgspec.json.encode(schema)
    except (TypeError, ValueError, ArithmeticError, RecursionError) as problem:
        raise RubricError(f"`{where}` is no JSON: {problem}") from None


def validator(schema: Mapping[str, Any] | bool, where: str, *, formats: bool = False) -> Validator:  # noqa: FBT001  JSON Schema has boolean schemas
    """Makes the validator of a schema.

    formats: whether the keyword `format` is checked; the draft leaves it open, and by default it is not.

    Raises RubricError for a schema that is invalid, too large, recursive, or refers elsewhere.
    """
    if read(encoded(schema, where).decode()) is NOTHING:
        raise RubricError(
            f"`{where}` is larger than {MAX_JSON_CHARS} characters or {MAX_NODES} values, nested deeper"
            " than 64, or has an integer of more than 64 bits"
        )
    left = MAX_STEPS
    for node in _written_out(schema, schema, where, 0):
        left -= 1
        if not left:
            raise RubricError(f"`{where}` has more than {MAX_STEPS} parts when written out")
        _refuse(node, where)
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as problem:
        raise RubricError(f"`{where}` is not a JSON Schema: {problem.message[:200]}") from None
    return Bounded(schema, registry=Registry(), format_checker=CHECKER if formats else None)


def _written_out(node: Any, root: Any, where: str, depth: int) -> Iterator[Mapping[str, Any]]:
    if depth > MAX_DEPTH:
        raise RubricError(f"`{where}` is recursive, or nested deeper than {MAX_DEPTH}")
    if isinstance(node, list):
        for inner in node:
            yield from _written_out(inner, root, where, depth + 1)
    if not isinstance(node, dict):
        return
    yield node
    if isinstance(reference := node.get("$ref"), str):
        yield from _written_out(_target(reference, root, where), root, where, depth + 1)
    for name, inner in node.items():
        if name not in {"$defs", "definitions", "const", "enum", "default", "examples"}:
            yield from _written_out(inner, root, where, depth + 1)


def _target(reference: str, root: Any, where: str) -> Any:
    if not reference.startswith("#"):
        raise RubricError(f"`{where}` refers to `{reference[:100]}`; only `#/...` is followed")
    for step in unquote(reference).removeprefix("#").split("/")[1:]:
        name: Any = step.replace("~1", "/").replace("~0", "~")
        if isinstance(root, list) and name.isascii() and name.isdigit() and int(name) < len(root):
            name = int(name)
        elif not isinstance(root, dict) or name not in root:
            raise RubricError(f"`{where}` refers to `{reference[:100]}`, which does not exist")
        root = root[name]
    return root


def _refuse(node: Mapping[str, Any], where: str) -> None:
    for name in REFUSED:
        if name in node and not _is_a_property(node, name):
            raise RubricError(f"`{where}` uses `{name}`, which is not supported")
    if isinstance(pattern := node.get("pattern"), str):
        _pattern(pattern)


def _is_a_property(node: Mapping[str, Any], name: str) -> bool:
    """Whether a name is a property's in a table of properties, not a keyword."""
    return name.startswith("$") and not isinstance(node[name], str)


@lru_cache(maxsize=1024)
def _pattern(pattern: str) -> Any:
    return compiled(pattern, "pattern")


def _on_re2(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, str):
        return
    if len(instance) > MAX_TEXT_CHARS or _pattern(pattern).search(instance) is None:
        yield ValidationError("does not fit the pattern")


def _unique(_: Any, wanted: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Compares items by canonical text: the library's comparison is quadratic for lists of objects."""
    if wanted and isinstance(instance, list) and len(set(map(canonical, instance))) < len(instance):
        yield ValidationError("has equal items")


def _multiple(_: Any, step: Any, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Divides decimals as written: as binary fractions, 0.3 is no multiple of 0.1."""
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Fraction(str(instance)) % Fraction(str(step)):
        yield ValidationError("is not a multiple")


Bounded = extend(
    Draft202012Validator, {"pattern": _on_re2, "uniqueItems": _unique, "multipleOf": _multiple}
)

CHECKER = FormatChecker(formats=())
"""The formats that are checked; each is linear in the text."""

TIME = re.compile(r"\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x1f\x7f-\U0010ffff]*")
EMAIL = re.compile(r"[^\s@]{1,64}@(?:[\w-]{1,63}\.){0,20}[\w-]{1,63}")
UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")


def _is_date(text: str) -> bool:
    return DATE.fullmatch(text) is not None and date.fromisoformat(text) is not None


def _is_time(text: str) -> bool:
    if not TIME.fullmatch(text):
        return False
    bare = text[:8].replace(":60", ":59") if text[6:8] == "60" else text[:8]  # a leap second
    zone = text[-5:] if text[-6] in "+-" else "00:00"
    return time.fromisoformat(bare) is not None and time.fromisoformat(zone) is not None


def _is_date_time(text: str) -> bool:
    return text[10:11] in ("T", "t") and _is_date(text[:10]) and _is_time(text[11:])


def _is_ipv4(text: str) -> bool:
    return IPv4Address(text) is not None


def _is_ipv6(text: str) -> bool:
    return "%" not in text and IPv6Address(text) is not None


FORMATS: Mapping[str, Callable[[str], Any]] = {
    "date": _is_date,
    "time": _is_time,
    "date-time": _is_date_time,
    "email": EMAIL.fullmatch,
    "ipv4": _is_ipv4,
    "ipv6": _is_ipv6,
    "uuid": UUID.fullmatch,
    "uri": URI.fullmatch,
}


def _on_texts(check: Callable[[str], Any]) -> Callable[[Any], bool]:
    """A check that other values than texts pass, as the draft has it."""
    return lambda value: not isinstance(value, str) or bool(check(value))


for _name, _check in FORMATS.items():
    CHECKER.checks(_name, raises=ValueError)(_on_texts(_check))
