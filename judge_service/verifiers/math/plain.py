"""Compares without algebra: texts that differ in layout only, and plain numbers.

This decides most rows without a worker, and always as the library would.
"""

import re
from fractions import Fraction

MAX_CHARS = 200
"""Longest text that is compared here; the library compares longer ones."""

ROUNDING = Fraction(1, 100_000)
"""Closer numbers are left to the library, which treats decimals as equal if they round to the same."""

NUMBER = re.compile(r"([+-]?)(\d{1,3}(?:,\d{3}){1,9}|\d{1,40})?(\.\d{1,40})?")
FRACTION = re.compile(r"([+-]?)(?:\\frac\{(\d{1,40})\}\{(\d{1,40})\}|(\d{1,40})/(\d{1,40}))")
BASED = re.compile(r"([0-9A-Fa-f]{1,40})_(?:\{(\d{1,2})\}|(\d{1,2}))")
"""A number with its base, which the library ignores."""

LAYOUT = re.compile(
    r"\\(?:left|right)(?![a-zA-Z])|\\[!,;:]|\$|(?<![\d,])\s+|\s+(?!\d)|(?<=,)\s+(?!\d{3}(?!\d))"
)
"""Parts of a text that do not change its meaning. A space between digits does, and one in `1, 100`."""

TEXT = re.compile(r"\\(?:text|textbf|textit|mathrm|mbox)\s?\{([^{}]*)\}")
WORDS = re.compile(r"\(?([^\W\d_][^\W\d_\s]*(?:\s[^\W\d_]+)*)\)?")

SYNONYMS = ((r"\dfrac", r"\frac"), (r"\tfrac", r"\frac"))


def compare(answer: str, reference: str, tolerance: float) -> bool | None:
    """Whether the texts are equal, `None` if that needs algebra. tolerance: relative, of numbers."""
    if len(answer) > MAX_CHARS or len(reference) > MAX_CHARS:
        return None
    said, gold = _bare(answer), _bare(reference)
    if said and said == gold:
        return True
    if _same_words(answer, reference):
        return True
    if (one := BASED.fullmatch(said)) and (other := BASED.fullmatch(gold)):
        return _based(one) == _based(other)
    numbers = _number(said), _number(gold)
    if numbers[0] is None or numbers[1] is None:
        return None
    return _near(numbers[0], numbers[1], Fraction(tolerance))


def _near(said: Fraction, gold: Fraction, tolerance: Fraction) -> bool | None:
    apart = abs(said - gold)
    if apart <= abs(gold) * tolerance:
        return True
    whole = said.denominator == gold.denominator == 1
    return False if whole or apart > ROUNDING else None


def _number(text: str) -> Fraction | None:
    """A number written in digits or as a simple fraction."""
    if (found := NUMBER.fullmatch(text)) and (found[2] or found[3]):
        return Fraction(text.replace(",", ""))
    if found := FRACTION.fullmatch(text):
        sign, *digits = (group for group in found.groups() if group is not None)
        over, under = map(int, digits)
        return Fraction(-over if sign == "-" else over, under) if under else None
    return None


def _same_words(answer: str, reference: str) -> bool:
    """Whether both are the same words, one in a text command. Case counts in a letter that stands alone."""
    said, gold = _words(answer), _words(reference)
    if not gold or not TEXT.search(answer + reference):
        return False
    return said == gold or (
        said.casefold() == gold.casefold() and (len(gold) > 1 or "(" in reference)
    )


def _words(text: str) -> str:
    """The words of a text without the commands for their font; empty if there is anything else in it."""
    found = WORDS.fullmatch(TEXT.sub(r"\1", text).strip(" .$"))
    return found[1] if found else ""


def _based(number: re.Match[str]) -> tuple[str, int]:
    return number[1].lstrip("0").upper(), int(number[2] or number[3])


def _bare(text: str) -> str:
    for name, other in SYNONYMS:
        text = text.replace(name, other)
    return LAYOUT.sub("", text).rstrip(".")
