r"""`number`: checks that the answer is the reference's number, in any notation.

It reads thousands separators, currency signs, `\frac`, powers of ten, percent and units. Numbers are compared
exactly, as fractions, unless there is a tolerance. A relative tolerance does not apply to two whole numbers,
because it would accept an answer that is off by one. An answer with several different numbers is no answer.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Annotated

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_ANSWER_CHARS, NUMBER, Strategies, extract

REFERENCE: Strategies = ("boxed", "hashes", "answer_tag", "label", "whole")
"""Longest reference, which may be a whole solution with a marked answer."""

WHOLE = re.compile(r"-?\d{1,40}", re.ASCII)
LATEX = re.compile(r"\\[dt]?frac\s?\{?(-?\d{1,40})\}?\s?\{?(\d{1,40})\}?")
POWER = re.compile(r"\s?(?:\\times|\\cdot|\u00d7|[x*])\s?10\s?(?:\^|\*\*)\s?\{?([-+]?\d{1,3})\}?")
SCALE = re.compile(r"(?<=\d)\s?(thousand|million|billion|trillion)\b", re.IGNORECASE)
SCALES = {"thousand": "e3", "million": "e6", "billion": "e9", "trillion": "e12"}
SPACING = re.compile(r"\\[,!; ]|\{(?=,\})|(?<=,)\}|\\text\b")
TYPING: Mapping[int, str | None] = str.maketrans(
    {"\u2212": "-", "$": None, "\u20ac": None, "\u00a3": None, "\u00a5": None, "+": None, ",": None}
)


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
    """The number in a text, `None` if there is none or several different ones."""
    if WHOLE.fullmatch(text):
        return Number(Fraction(int(text)))
    found = {_read(written) for written in NUMBER.findall(_plain(text))}
    return found.pop() if len(found) == 1 else None


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


def _plain(text: str) -> str:
    if "\\" in text or "{" in text:
        text = LATEX.sub(r"\1/\2", SPACING.sub("", text))
    if "10" in text:
        text = POWER.sub(r"e\1", text)
    return SCALE.sub(lambda word: SCALES[word[1].lower()], text) if "o" in text.lower() else text


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
