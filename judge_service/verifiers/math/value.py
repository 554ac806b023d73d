"""The value of a tree of mathematics: an exact fraction where possible, else a number of many digits."""

import math
import operator
from fractions import Fraction
from typing import Any
from zlib import crc32

import mpmath  # type: ignore[import-untyped]  # it has no types
from mpmath import mp

from judge_service.verifiers.math.nodes import Call, Group, Node, Num, Quantity, Sym, children

MAX_BITS = 60_000
"""Largest exact number. Larger ones are rounded to the working precision."""

MAX_FACTORIAL = 5_000

MAX_ROWS = 5

MAX_EXPONENT = 10**15
"""A power with a larger exponent, or the factorial of a larger number, has no value that can be compared."""

Value = Any  # Fraction, or a number of mpmath, which has no types
Point = dict[str, Fraction]


class Unvalued(Exception):
    """The tree has no single value, or none here (a pole, a unit, a text)."""


def point(names: set[str], turn: int, *, whole: bool = False, signed: bool = False) -> Point:
    """Values for unknowns, the same for the same name and turn. signed: some are negative."""
    found = {}
    for name in names:
        seed = crc32(f"{turn} {name}".encode())
        found[name] = (
            Fraction(2 + seed % 9) if whole else Fraction(1 + seed % 997, 499) + Fraction(1, 3)
        )
        if signed and seed & 1024:
            found[name] = -found[name]
    return found


def value(node: Node, where: Point) -> Value:
    """The value with the given unknowns. Raises Unvalued."""
    try:
        return _value(node, where)
    except (
        ZeroDivisionError,
        ValueError,
        TypeError,
        OverflowError,
        mpmath.libmp.NoConvergence,
    ) as problem:
        raise Unvalued from problem


def _value(node: Node, where: Point) -> Value:
    match node:
        case Num():
            return node.value
        case Sym():
            if node.name.startswith("set "):
                raise Unvalued
            return where[node.name]
        case Quantity(unit="degrees"):
            return _value(node.value, where)
        case Call(name="det", args=(Group() as matrix,)):
            return _determinant(
                [[_value(one, where) for one in children(row)] for row in matrix.items]
            )
        case Call():
            return _called(node.name, [_value(one, where) for one in node.args])
    raise Unvalued


def _called(name: str, args: list[Value]) -> Value:
    if name in TWO_ARGUMENTS:
        one, other = args
        return _both(one, other, TWO_ARGUMENTS[name])
    if name in OPERATIONS:
        return OPERATIONS[name](*args)
    if name in ONE_ARGUMENT and len(args) == 1:
        return ONE_ARGUMENT[name](inexact(args[0]))
    if name in OF_EXACT and args and all(isinstance(one, Fraction) for one in args):
        return Fraction(OF_EXACT[name](args))
    raise Unvalued


def _determinant(rows: list[list[Value]]) -> Value:
    if not 0 < len(rows) <= MAX_ROWS or any(len(row) != len(rows) for row in rows):
        raise Unvalued
    if len(rows) == 1:
        return rows[0][0]
    total: Value = Fraction(0)
    for column, first in enumerate(rows[0]):
        minor = _determinant([row[:column] + row[column + 1 :] for row in rows[1:]])
        signed = minor if column % 2 == 0 else -minor
        total = _both(total, _both(first, signed, operator.mul), operator.add)
    return total


def inexact(number: Value) -> Value:
    """The number in mpmath's form."""
    if isinstance(number, Fraction):
        return mpmath.mpf(number.numerator) / number.denominator
    return number


def _bits(number: Fraction) -> int:
    return number.numerator.bit_length() + number.denominator.bit_length()


def _both(one: Value, other: Value, operation: Any) -> Value:
    exact = isinstance(one, Fraction) and isinstance(other, Fraction)
    if exact and _bits(one) + _bits(other) <= 2 * MAX_BITS:
        return operation(one, other)
    return operation(inexact(one), inexact(other))


def _power(base: Value, exponent: Value) -> Value:
    exact = isinstance(base, Fraction) and isinstance(exponent, Fraction)
    if exact and exponent.denominator == 1 and _bits(base) * abs(exponent) <= MAX_BITS:
        return base**exponent.numerator
    if (not base and not isinstance(exponent, Fraction)) or abs(exponent) > MAX_EXPONENT:
        raise Unvalued
    if isinstance(exponent, Fraction) and exponent.denominator == 1:
        return mpmath.power(inexact(base), exponent.numerator)
    return mpmath.power(inexact(base), inexact(exponent))


def _root(number: Value, degree: Value) -> Value:
    if not degree:
        raise Unvalued
    odd = isinstance(degree, Fraction) and degree.denominator == 1 and degree.numerator % 2
    if odd and not isinstance(number, mpmath.mpc) and number < 0:
        return -_root(-number, degree)
    if isinstance(number, Fraction) and degree == 2:
        over, under = math.isqrt(max(0, number.numerator)), math.isqrt(number.denominator)
        if Fraction(over * over, under * under) == number:
            return Fraction(over, under)
    return mpmath.power(inexact(number), 1 / inexact(degree))


def _factorial(number: Value) -> Value:
    if isinstance(number, Fraction) and number.denominator == 1 and 0 <= number <= MAX_FACTORIAL:
        return Fraction(math.factorial(number.numerator))
    if abs(number) > MAX_EXPONENT:
        raise Unvalued
    return mpmath.factorial(inexact(number))


def _binomial(over: Value, under: Value) -> Value:
    exact = isinstance(over, Fraction) and over.denominator == under.denominator == 1
    if exact and 0 <= under <= over <= MAX_FACTORIAL:
        return Fraction(math.comb(over.numerator, under.numerator))
    return mpmath.binomial(inexact(over), inexact(under))


TWO_ARGUMENTS: dict[str, Any] = {
    "add": operator.add,
    "mul": operator.mul,
    "div": operator.truediv,
    "binom": _binomial,
}


def _logarithm(number: Value, base: Value = Fraction(10)) -> Value:
    if base == 10:
        return mpmath.log10(inexact(number))
    return mpmath.log(inexact(number)) / mpmath.log(inexact(base))


def _floor(number: Value) -> Value:
    return Fraction(math.floor(number)) if isinstance(number, Fraction) else mpmath.floor(number)


def _whole(numbers: list[Fraction]) -> list[int]:
    if any(one.denominator != 1 for one in numbers):
        raise Unvalued
    return [one.numerator for one in numbers]


OPERATIONS: dict[str, Any] = {
    "neg": operator.neg,
    "pow": _power,
    "root": _root,
    "abs": abs,
    "factorial": _factorial,
    "floor": _floor,
    "ceil": lambda number: -_floor(-number),
    "degree": lambda number: inexact(number) * mp.pi / 180,
    "pi": lambda: +mp.pi,
    "e": lambda: +mp.e,
    "i": lambda: mpmath.mpc(0, 1),
    "log": _logarithm,
}

OF_EXACT: dict[str, Any] = {
    "max": max,
    "min": min,
    "gcd": lambda numbers: math.gcd(*_whole(numbers)),
    "lcm": lambda numbers: math.lcm(*_whole(numbers)),
}

ONE_ARGUMENT: dict[str, Any] = {
    **{
        name: getattr(mpmath, name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "exp")
    },
    "ln": mpmath.log,
    **{
        "arc" + name: getattr(mpmath, "a" + name)
        for name in ("sin", "cos", "tan", "cot", "sec", "csc")
    },
}
