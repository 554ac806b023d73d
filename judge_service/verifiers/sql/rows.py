"""Compares results of queries: multisets of rows, numbers within a tolerance."""

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from math import isclose
from typing import Any

Rows = Sequence[Sequence[Any]]

DIGITS = 9
"""Digits of numbers by which equal rows are found."""

IGNORED = re.compile(r"--[^\n]*|/\*.*?\*/|'[^']*'|\"[^\"]*\"|`[^`]*`|\[[^\]]*\]", re.DOTALL)
MARK = re.compile(r"[()]|\border\s+by\b", re.IGNORECASE)


def is_ordered(query: str) -> bool:
    """Whether a query orders its result: an ORDER BY outside all parentheses, strings and comments."""
    depth = 0
    for mark in MARK.findall(IGNORED.sub(" ", query)):
        if mark in "()":
            depth += 1 if mark == "(" else -1
        elif depth == 0:
            return True
    return False


def same_rows(rows: Rows, expected: Rows, tolerance: float, *, ordered: bool) -> bool:
    """Whether two results are equal, in order or as multisets."""
    if len(rows) != len(expected):
        return False
    if not ordered:
        if Counter(map(_key, rows)) == Counter(map(_key, expected)):
            return True
        rows, expected = sorted(rows, key=_rank), sorted(expected, key=_rank)
    return all(_same_row(*pair, tolerance) for pair in zip(rows, expected, strict=True))


def _same_row(row: Sequence[Any], expected: Sequence[Any], tolerance: float) -> bool:
    return len(row) == len(expected) and all(
        _same(value, wanted, tolerance) for value, wanted in zip(row, expected, strict=True)
    )


def _same(value: Any, expected: Any, tolerance: float) -> bool:
    if isinstance(value, float) or isinstance(expected, float):
        both = isinstance(value, int | float) and isinstance(expected, int | float)
        return both and (
            isclose(value, expected, rel_tol=tolerance) or (value != value and expected != expected)  # noqa: PLR0124  not a number
        )
    return type(value) is type(expected) and bool(value == expected)


def agreement(pairs: Iterable[tuple[Rows, Rows]]) -> float:
    """The mean F1 of rows over the databases, for results that are not equal; always below 1.

    A database in which the reference finds no rows counts only if the query finds some.
    """
    scores = [_f1(rows, expected) for rows, expected in pairs if rows or expected]
    return min(sum(scores) / len(scores), CAP) if scores else 0.0


CAP = 0.99
"""Best score of rows in a wrong order, or equal in nine digits only."""


def _f1(rows: Rows, expected: Rows) -> float:
    have, want = Counter(map(_key, rows)), Counter(map(_key, expected))
    return 2 * (have & want).total() / (have.total() + want.total())


def _key(row: Sequence[Any]) -> Hashable:
    return tuple(_digits(value) for value in row)


def _digits(value: Any) -> Hashable:
    return float(f"{value:.{DIGITS}g}") if isinstance(value, float) else value


def _rank(row: Sequence[Any]) -> list[tuple[int, float, str]]:
    """A sort key that keeps rows next to each other if they differ by less than the tolerance."""
    return [_place(value) for value in row]


def _place(value: Any) -> tuple[int, float, str]:
    if value is None:
        return (0, 0.0, "")
    if isinstance(value, int | float):
        return (1, float(value), "")
    return (2, 0.0, str(value))
