"""Reads and checks the result of a custom grader: a number, a `Score` or a mapping."""

import math
import re
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from judge_service.values import NO_METADATA

MAX_NAMES = 32
"""Most parts, or metrics, of one score; each is a column in the trainer."""

ROUNDING = 1e-9
"""A score outside [0, 1] by at most this is a rounding error."""

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}", re.ASCII)


class Score(Struct, frozen=True):
    """A custom grader's result with more than one number.

    score: in [0, 1].
    parts: further scores in [0, 1] by name, shown like the criteria of a rubric.
    metrics: any other finite numbers, by name.

    At most 32 names each; a name is letters, digits and `_`, at most 64 of them.
    """

    score: float
    parts: Mapping[str, float] = NO_METADATA
    metrics: Mapping[str, float] = NO_METADATA


class BadScoreError(Exception):
    """The result of a custom grader is not a score; the text says why."""


def read_score(value: Any) -> Score:
    """The score in a function's result.

    Raises BadScoreError, and any error of a foreign number type when it is converted to float.
    """
    if isinstance(value, Score):
        parts = {name: _share(part, f"part `{name}`") for name, part in _named(value.parts)}
        return Score(_share(value.score, "the score"), parts, _numbers(value.metrics))
    if not isinstance(value, Mapping):
        return Score(_share(value, "the score"))
    if "score" not in value:
        raise BadScoreError("it returned a mapping without the key `score`")
    extras = {name: extra for name, extra in value.items() if name != "score" and _is_number(extra)}
    return Score(_share(value["score"], "the score"), metrics=_numbers(extras))


def read_only_score(value: Any) -> Score | None:
    """The score in a list of one, as TRL's functions return it; `None` in the list is "not judged"."""
    if isinstance(value, str | Mapping) or not hasattr(value, "__len__"):
        raise BadScoreError(
            f"it returned {_kind(value)}, not a list with one reward per completion"
        )
    if len(value) != 1:
        raise BadScoreError(f"it returned {len(value)} rewards for 1 completion")
    return None if value[0] is None else read_score(value[0])


def _numbers(named: Mapping[str, Any]) -> dict[str, float]:
    return {name: _number(value, f"metric `{name}`") for name, value in _named(named)}


def _named(values: Mapping[str, Any]) -> list[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        raise BadScoreError(f"parts and metrics are mappings, not {_kind(values)}")
    if len(values) > MAX_NAMES:
        raise BadScoreError(
            f"it returned {len(values)} names beside the score, more than {MAX_NAMES}"
        )
    for name in values:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name == "unscored":
            raise BadScoreError(
                "the name of a part or metric must be letters, digits and `_`, at most 64, and not"
                f" `unscored`: {ascii(name)[:80]}"
            )
    return list(values.items())


def _share(value: Any, what: str) -> float:
    number = _number(value, what)
    if not -ROUNDING <= number <= 1 + ROUNDING:
        raise BadScoreError(
            f"{what} is {number:g}, which is outside 0 to 1; scale it (`wire.score_range` is applied"
            " later)"
        )
    return min(max(number, 0.0), 1.0)


def _number(value: Any, what: str) -> float:
    if not _is_number(value):
        raise BadScoreError(f"{what} is {_kind(value)}, not a number")
    try:
        number = float(value)
    except OverflowError:
        raise BadScoreError(f"{what} is beyond the range of a float") from None
    if not math.isfinite(number):
        raise BadScoreError(f"{what} is {number}, which is not finite")
    return number


def _is_number(value: Any) -> bool:
    """Whether a value is a number, including those of numpy and torch; a text is not."""
    return hasattr(type(value), "__float__") or hasattr(type(value), "__index__")


def _kind(value: Any) -> str:
    return "None" if value is None else f"a value of type {type(value).__name__}"
