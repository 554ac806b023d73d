r"""`number`: checks that the answer is the reference's number, in any notation.

It reads thousands separators, currency signs, mixed numbers, powers, fractions, percent and units, and takes
an expression or an equation (`12+25 = 37`) for its value. Numbers are compared exactly, as fractions, unless
there is a tolerance. A relative tolerance does not apply to two whole numbers, because it would accept an
answer that is off by one. An answer with several different numbers is no answer.
"""

import operator
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from math import factorial, isqrt
from typing import Annotated

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_ANSWER_CHARS, NUMBER, Strategies, extract
from judge_service.verifiers.math.nodes import Call, Node, Num, Quantity
from judge_service.verifiers.math.notation import normal
from judge_service.verifiers.math.reader import read
from judge_service.verifiers.math.tokens import SCALES, Unread

REFERENCE: Strategies = ("boxed", "hashes", "answer_tag", "label", "whole")
"""Longest reference, which may be a whole solution with a marked answer."""

WHOLE = re.compile(r"-?\d{1,40}", re.ASCII)
PLAIN = re.compile(
    r"[-+]?\$?(?:\d{1,2}(?:,\d{2})+,\d{3}|\d{1,3}(?:,\d{3})+|\d{1,40})?(?:\.\d{1,40})?(?<=\d)\s?\\?%?"
)
TYPING: Mapping[int, str | None] = str.maketrans(
    {"\u2212": "-", "$": None, "\u20ac": None, "\u00a3": None, "\u00a5": None, "+": None, ",": None}
)
THOUSANDS = re.compile(r"(?<=\d)(k|K|M|bn|B|mn)(?!\w)")
WORD_OF = {"k": "thousand", "K": "thousand", "M": "million", "mn": "million"}
TIMES = re.compile(r"(?<=\d)\s?x\s?(?=10\s?(?:\^|\*\*))")
TOO_LONG = re.compile(r"\d{41}")
ASIDE = re.compile(r"(?<=[\w%])\s+\([^()]*\)")
"""What follows a number in brackets explains it."""

UNIT = re.compile(r"(?<=[\d}])\s+([A-Za-z]+)(?:[\s/][A-Za-z]+)*(?:\^\{?\d\}?)?[.\s]*$")
NO_UNITS = frozenset("abinkxyz") | {"pi", "and", "or", *SCALES}
SIGN_IN_WORDS = re.compile(r"(?<!\w)(?:minus|negative)\s+(?=\d)", re.IGNORECASE)
OTHERWISE = re.compile(
    r"[\\^_!<>]|(?<!\w)(?:not|n't|than|least|most|between|under|over|above|below|plus|minus|times|half"
    r"|log|sqrt|root|square|squared|cubed|factorial|without|except)(?!\w)"
    r"|(?<![A-Za-z\d])\d[\d.,]*[A-Za-z](?![A-Za-z])",
    re.IGNORECASE,
)
"""What makes a number in a sentence another one."""

MAX_BITS = 4_000
"""Largest number that an expression may give."""


class Number(Struct, frozen=True):
    """A number as written. percent: whether a percent sign followed; `value` ignores it."""

    value: Fraction
    percent: bool = False

    def readings(self) -> tuple[Fraction, ...]:
        """The possible values: `50%` may mean fifty or a half."""
        return (self.value, self.value / 100) if self.percent else (self.value,)


class Options(AnswerOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `number`."""

    strategies: Annotated[
        Strategies,
        Meta(
            description="Where an answer is looked for; the first strategy that finds one decides."
        ),
    ] = ("boxed", "hashes", "answer_tag", "solution", "phrase", "label", "last_number")
    absolute_tolerance: Annotated[
        float, Meta(ge=0, le=1e12, description="Largest difference that is accepted.")
    ] = 0.0
    relative_tolerance: Annotated[
        float,
        Meta(
            ge=0,
            lt=1,
            description="Largest difference as a share of the reference; not between whole numbers.",
        ),
    ] = 0.0


def number(text: str) -> Number | None:
    r"""The number in a text, `None` if there is none or several different ones.

    An expression counts as its value (`2^{10}`), and a number whose neighbours make it another one (`2x`,
    `\sqrt2`, `> 3`, `not 3`) as none.
    """
    if WHOLE.fullmatch(text):
        return Number(Fraction(int(text)))
    text = text.strip()
    if PLAIN.fullmatch(text):
        return _read(text)
    if TOO_LONG.search(text):
        return None
    text = THOUSANDS.sub(lambda short: " " + WORD_OF.get(short[1], "billion"), text)
    text = TIMES.sub(r" \\times ", SIGN_IN_WORDS.sub("-", text))
    written = normal(text).rpartition("=")[2].strip(" .,*")
    written = ASIDE.sub("", written)
    unit = UNIT.search(written)
    if unit and unit[1].lower() not in NO_UNITS:
        written = written[: unit.start()]
    try:
        parts = read(written)
    except Unread:
        return _in_words(written)
    try:
        found = {_number(part) for part in parts}
    except RecursionError:  # a tower of hundreds of powers or factorials
        return None
    return found.pop() if len(found) == 1 else None


def _in_words(text: str) -> Number | None:
    """The only number of a sentence."""
    if OTHERWISE.search(text):
        return None
    found = {_read(written) for written in NUMBER.findall(text)}
    return found.pop() if len(found) == 1 else None


def _number(node: Node) -> Number | None:
    percent = isinstance(node, Quantity) and node.unit == "%"
    value = _value(node.value if isinstance(node, Quantity) else node)
    return None if value is None else Number(value, percent=percent)


def _value(node: Node) -> Fraction | None:
    """The value of an expression without unknowns, if it is rational and of a moderate size."""
    if isinstance(node, Num):
        return node.value
    if not isinstance(node, Call) or node.name not in OPERATIONS:
        return None
    values = [_value(one) for one in node.args]
    if None in values:
        return None
    try:
        value = OPERATIONS[node.name](*values)
    except ZeroDivisionError:
        return None
    small = value is not None and max(value.numerator.bit_length(), value.denominator.bit_length())
    return value if small is not False and small <= MAX_BITS else None


def _power(base: Fraction, exponent: Fraction) -> Fraction | None:
    size = max(base.numerator.bit_length(), base.denominator.bit_length())
    if exponent.denominator != 1 or abs(exponent) * size > MAX_BITS:
        return None
    return Fraction(base**exponent.numerator)


def _root(radicand: Fraction, degree: Fraction) -> Fraction | None:
    over, under = isqrt(max(0, radicand.numerator)), isqrt(radicand.denominator)
    return (
        Fraction(over, under) if degree == 2 and Fraction(over**2, under**2) == radicand else None
    )


def _factorial(whole: Fraction) -> Fraction | None:
    small = whole.denominator == 1 and 0 <= whole <= 170  # more than any double holds
    return Fraction(factorial(whole.numerator)) if small else None


OPERATIONS: Mapping[str, Callable[..., Fraction | None]] = {
    "neg": operator.neg,
    "add": operator.add,
    "mul": operator.mul,
    "div": operator.truediv,
    "pow": _power,
    "root": _root,
    "factorial": _factorial,
}


class Tolerance(Struct, frozen=True):
    """The largest accepted difference of two numbers. relative: as a share of the reference."""

    absolute: Fraction
    relative: Fraction

    def near(self, said: Fraction, gold: Fraction) -> bool:
        """Whether two numbers agree; the relative tolerance does not apply to two whole numbers."""
        if said == gold:
            return True
        whole = said.denominator == gold.denominator == 1
        allowed = self.absolute if whole else max(self.absolute, abs(gold) * self.relative)
        return abs(said - gold) <= allowed


EXACT = Tolerance(Fraction(0), Fraction(0))


def equal(said: Number, gold: Number, tolerance: Tolerance = EXACT) -> bool:
    """Whether two numbers are equal. Two percentages are compared as such."""
    if said.percent == gold.percent:
        return tolerance.near(said.value, gold.value)
    return any(tolerance.near(one, other) for one in said.readings() for other in gold.readings())


def _read(written: str) -> Number | None:
    bare = written.rstrip("%\\ \t\n").translate(TYPING)
    above, _, below = bare.partition("/")
    value = Fraction(Decimal(above.strip()))
    if below and not int(below):
        return None
    if below:
        value /= int(below)
    return Number(value, percent=written.endswith("%"))


def _gold(reference: str | None) -> Number | None:
    if not reference:
        return None
    found = extract(reference, REFERENCE)
    return number(found.text) if found and len(found.text) <= MAX_ANSWER_CHARS else None


def _exactly(number: float) -> Fraction:
    """The decimal value as written; 0.3 as a binary fraction would be a little less."""
    return Fraction(str(number))


def make(options: Options) -> Pure:
    """Makes the verifier."""
    tolerance = Tolerance(
        _exactly(options.absolute_tolerance), _exactly(options.relative_tolerance)
    )

    def compare(answer: str, gold: Number) -> Outcome:
        said = number(answer)
        if said is None:
            return "malformed"
        return "right" if equal(said, gold, tolerance) else "wrong"

    def check(sample: Sample) -> Check:
        return grade(sample, options, _gold(sample.reference), compare)

    return Pure(check)
