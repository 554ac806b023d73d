"""Matches calls with the expected ones: arguments in any order, calls in the best pairing."""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct

from judge_service.verifiers.tool_calls.reading import Call

Types = Literal["exact", "numbers", "text"]
"""Values of different types that are equal: none, 1 and 1.0, or also "1" and 1, "true" and true."""

PUNCTUATION = re.compile(r"[,./_*^'\"\s-]+")
"""Characters that are ignored in a comparison of texts, except those that `_kept` keeps."""

ADDRESS = re.compile(r"\A\s*(?:~|\.{0,2})/\w|://|\w@\w")
"""A path, a URL or a mail address, in which every mark counts."""

OPERAND_BEFORE = re.compile(r"(?:\d|(?:\A|[\W\d_])[^\W\d_]|[)\]])\Z")
OPERAND_AFTER = re.compile(r"\d|[^\W\d_](?![^\W\d_])|[(\[]")
OPERATOR = re.compile(r"[*/^]|^[^,]*-$")
SHORT_END = re.compile(r"[-*](?:\s|\Z)")
SHORT_WORD = re.compile(r"(?:\A|[\W\d_])[^\W\d_]{1,2}\Z")


class Expected(Struct, frozen=True):
    """An expected call.

    allowed: the values that each argument may have; `""` among them means that it may be omitted.
    nested: whether allowed values that are objects hold lists of allowed values themselves.
    """

    name: str
    allowed: Mapping[str, Sequence[Any]]
    nested: bool


class Comparison(Struct, frozen=True):
    """Compares values. exact_text: whether case and punctuation matter."""

    types: Types
    exact_text: bool

    def credit(self, call: Call, expected: Expected) -> float:
        """The share of name and arguments that are right, in [0, 1]; 0 for another name."""
        if _plain_name(call.name) != _plain_name(expected.name):
            return 0.0
        wanted = {
            name
            for name, allowed in expected.allowed.items()
            if name in call.arguments or "" not in allowed
        }
        right = sum(self._argument(call, expected, name) for name in wanted)
        return (1 + right) / (1 + len(wanted | call.arguments.keys()))

    def _argument(self, call: Call, expected: Expected, name: str) -> bool:
        return name in call.arguments and any(
            self.equal(call.arguments[name], allowed, nested=expected.nested)
            for allowed in expected.allowed[name]
        )

    def equal(self, value: Any, allowed: Any, *, nested: bool) -> bool:
        """Whether a value equals an allowed one."""
        if isinstance(allowed, dict):
            return isinstance(value, dict) and self._objects(value, allowed, nested=nested)
        if isinstance(allowed, list):
            return (
                isinstance(value, list)
                and len(value) == len(allowed)
                and all(map(self._equal_in(nested=nested), value, allowed))
            )
        return self._scalars(value, allowed)

    def _equal_in(self, *, nested: bool) -> Any:
        return lambda value, allowed: self.equal(value, allowed, nested=nested)

    def _objects(self, value: dict[str, Any], allowed: dict[str, Any], *, nested: bool) -> bool:
        if not value.keys() <= allowed.keys():
            return False
        for name, wanted in allowed.items():
            choices = wanted if nested and isinstance(wanted, list) else [wanted]
            if name not in value:
                if not (nested and "" in choices):
                    return False
            elif not any(self.equal(value[name], choice, nested=nested) for choice in choices):
                return False
        return True

    def _scalars(self, value: Any, allowed: Any) -> bool:
        if isinstance(value, str) and isinstance(allowed, str):
            return value == allowed if self.exact_text else plain(value) == plain(allowed)
        if type(value) is type(allowed):
            return bool(value == allowed)
        if self.types == "text" and isinstance(value, str) != isinstance(allowed, str):
            return bool(_spelled(value) == _spelled(allowed))
        numbers = {type(value), type(allowed)} == {int, float}
        return numbers and self.types != "exact" and bool(value == allowed)


def plain(text: str) -> str:
    """The text without case, white space, and punctuation that is no operator, sign or address."""
    text = unicodedata.normalize("NFKC", text.replace("\u2212", "-")).casefold()
    return " ".join(text.split()) if ADDRESS.search(text) else PUNCTUATION.sub(_kept, text.strip())


def _kept(run: re.Match[str]) -> str:
    """The punctuation that stays: what is between numbers or operands, a sign, a flag, `O-` and `A*`."""
    text, said = run.string, run[0]
    before, after = text[max(0, run.start() - 3) : run.start()], text[run.end() : run.end() + 2]
    marks = "".join(said.split())
    operated = OPERAND_BEFORE.search(before) and OPERAND_AFTER.match(after)
    if operated and OPERATOR.search(marks):
        return marks
    if _is_sign(said, before, after):
        return " -" if before else "-"
    if SHORT_END.match(said) and SHORT_WORD.search(before) and (not after or said[1:]):
        return said[0]
    if not after[:1].isdigit():
        return ""
    if before[-1:].isdigit():
        return " " if any(map(str.isspace, said)) else said
    return said[-1] if said[-1] in "-." else ""


def _is_sign(said: str, before: str, after: str) -> bool:
    """Whether a run ends with a minus or a flag's dash: `-x`, `34.05, -118`, `rm -rf`."""
    if not before:
        attached = said[-1] == "-" and OPERAND_AFTER.match(after) is not None
        return attached or (said.strip() == "-" and after[:1].isdigit())
    return said[-1] == "-" and said[:-1].endswith((" ", ",")) and bool(after)


def _plain_name(name: str) -> str:
    """A function's name with underscores for dots, because OpenAI allows no dots."""
    return name.strip().replace(".", "_")


def _spelled(value: Any) -> Any:
    """The number or truth value that a text spells."""
    text = str(value).strip().casefold()
    try:
        return float(text)
    except ValueError:
        return text


def best_total(credits_: Sequence[Sequence[float]]) -> float:
    """The largest sum of credits when each row is assigned a different column, as far as columns suffice.

    The Hungarian method with shortest augmenting paths; at most 32 x 32.
    """
    size = max(len(credits_), len(credits_[0]))
    costs = [[-credit for credit in row] + [0.0] * (size - len(row)) for row in credits_]
    costs += [[0.0] * size for _ in range(size - len(costs))]
    rows, columns, row_of = [0.0] * size, [0.0] * size, [-1] * size
    for row in range(size):
        _augment(row, costs, rows, columns, row_of)
    return sum(-costs[row][column] for column, row in enumerate(row_of)) + 0.0  # never -0.0


def _augment(
    start: int,
    costs: list[list[float]],
    rows: list[float],
    columns: list[float],
    row_of: list[int],
) -> None:
    """Assigns row `start` a column along the cheapest augmenting path and updates the potentials."""
    size = len(costs)
    distance, previous, done = [float("inf")] * size, [-1] * size, [False] * size
    row, column, reached = start, -1, 0.0
    while row >= 0:
        for other in range(size):
            length = reached + costs[row][other] - rows[row] - columns[other]
            if not done[other] and length < distance[other]:
                distance[other], previous[other] = length, column
        column = min((other for other in range(size) if not done[other]), key=distance.__getitem__)
        done[column], reached, row = True, distance[column], row_of[column]
    rows[start] += reached
    for other in range(size):
        if done[other] and other != column:
            rows[row_of[other]] += reached - distance[other]
            columns[other] -= reached - distance[other]
    while column >= 0:
        before = previous[column]
        row_of[column] = row_of[before] if before >= 0 else start
        column = before
