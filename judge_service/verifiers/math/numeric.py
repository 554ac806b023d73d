"""Compares the values of two expressions, at several points if they have unknowns."""

from fractions import Fraction
from typing import Any

import mpmath  # type: ignore[import-untyped]  # it has no types
from mpmath import mp

from judge_service.verifiers.math.nodes import Call, Node, Num, Sym, walk
from judge_service.verifiers.math.value import Point, Unvalued, inexact, point, value

DIGITS, MORE_DIGITS = 60, 150
"""Decimal digits of the two evaluations. A true difference is equal in both; a rounding error is not."""

LOST = 30
"""Digits of an evaluation that may be lost to rounding."""

SHRUNK = 40
"""A difference that becomes smaller by this many digits in the longer evaluation is a rounding error."""

NEAR = 20
"""Values that agree in this many digits are evaluated again with more digits."""

DOUBLE_FIGURES = 15
"""Significant digits that a double has at least."""

ROUNDED_FIGURES = 6
"""A decimal with at least this many significant digits equals every value that rounds to it."""

TURNS = 3
"""Points at which expressions with unknowns are compared."""


def unknowns(*nodes: Node) -> set[str]:
    return {one.name for node in nodes for one in walk(node) if isinstance(one, Sym)}


def numbers_equal(said: Node, gold: Node, tolerance: float) -> bool:
    """Whether two expressions have the same value, at every point if they have unknowns."""
    if _infinite(said) or _infinite(gold):
        return _infinite(said) == _infinite(gold)
    names = unknowns(said, gold)
    kinds = {one.name for node in (said, gold) for one in walk(node) if isinstance(one, Call)}
    rooted = (
        bool(kinds & {"root", "ln", "log"}) or _fractional_power(said) or _fractional_power(gold)
    )
    whole = bool(names) and (_counts(said) or _counts(gold))
    try:
        for turn in range(TURNS if names else 1):
            signed = turn > 0 and not rooted
            if not _equal_at(
                said,
                gold,
                point(names, turn, whole=whole, signed=signed and not whole),
                0.0 if names else tolerance,
            ):
                return False
    except Unvalued:
        return False
    return True


def _infinite(node: Node) -> int:
    if node == Call("infty"):
        return 1
    return -_infinite(node.args[0]) if isinstance(node, Call) and node.name == "neg" else 0


def _fractional_power(node: Node) -> bool:
    powers = [one for one in walk(node) if isinstance(one, Call) and one.name == "pow"]
    return any(
        isinstance(below, Call) and below.name == "div"
        for power in powers
        for below in walk(power.args[1])
    )


def _counts(node: Node) -> bool:
    """Whether an unknown counts: it is in a factorial, or in the exponent of a negative number."""
    calls = [one for one in walk(node) if isinstance(one, Call) and unknowns(one)]
    return any(one.name in {"factorial", "binom"} or _alternates(one) for one in calls)


def _alternates(call: Call) -> bool:
    if call.name != "pow" or not unknowns(call.args[1]):
        return False
    base = call.args[0]
    return isinstance(base, Call) and base.name == "neg"


def _equal_at(said: Node, gold: Node, where: Point, tolerance: float) -> bool:
    with mp.workdps(DIGITS):
        one, other = value(said, where), value(gold, where)
        exact = isinstance(one, Fraction) and isinstance(other, Fraction)
        apart: Any = abs(one - other) if exact else abs(inexact(one) - inexact(other))
        if not apart and exact:
            return True
        if tolerance and _within(apart, other, tolerance):
            return True
        if not where and (_rounds(said, apart) or _rounds(gold, apart)):
            return True
        size = max(abs(inexact(one)), abs(inexact(other)))
        if exact or (one and other and apart > size * mpmath.mpf(10) ** -NEAR):
            return False
    with mp.workdps(MORE_DIGITS):
        one, other = inexact(value(said, where)), inexact(value(gold, where))
        precise, size = abs(one - other), max(abs(one), abs(other))
        rounding = size * mpmath.mpf(10) ** -(MORE_DIGITS - LOST)
        return bool(precise <= rounding or precise < apart * mpmath.mpf(10) ** -SHRUNK)


def _within(apart: Any, gold: Any, tolerance: float) -> bool:
    share = Fraction(str(tolerance))
    if isinstance(apart, Fraction) and isinstance(gold, Fraction):
        return apart <= abs(gold) * share
    return bool(inexact(apart) <= abs(inexact(gold)) * inexact(share))


def _rounds(decimal: Node, apart: Any) -> bool:
    """Whether a value that far from a decimal of many figures rounds to it."""
    number = decimal.args[0] if isinstance(decimal, Call) and decimal.name == "neg" else decimal
    if not isinstance(number, Num) or number.places is None or number.figures < ROUNDED_FIGURES:
        return False
    units = 2 if number.figures < DOUBLE_FIGURES else 1  # a double's last digit may be off by one
    limit = Fraction(1, units * 10**number.places)
    return bool(apart <= (limit if isinstance(apart, Fraction) else inexact(limit)))


def has_value(node: Node) -> bool:
    """Whether an expression has a value that can be compared, at one point at least; `1/0` has none."""
    if not isinstance(node, Call) or _infinite(node):
        return True
    try:
        with mp.workdps(DIGITS):
            value(node, point(unknowns(node), 0))
    except Unvalued:
        return False
    return True
