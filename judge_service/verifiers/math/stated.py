r"""Finds the mathematics that a response without a box or another mark states.

In order: the whole text if it is short, what follows "the answer is" or `Answer:`, the last formula in dollar
signs or `\(...\)`, the last number with its sign.
"""

import re

from judge_service.verifiers.extract import extract

SHORT_CHARS = 60
"""Longest response that is taken as an answer without words around it."""

FORMULA = re.compile(
    r"\$\$([^$]{1,2000})\$\$|(?<!\\)\$([^$\n]{1,400})(?<!\\)\$|\\\(([^\n]{1,400}?)\\\)|\\\[(.{1,2000}?)\\\]",
    re.DOTALL,
)
MONEY = re.compile(r"\s?\d")
LAST = re.compile(
    r"(?P<sign>(?:(?<!\w)(?:minus|negative)\s|(?<![\w)\]}])[-\u2212\u2013]\s?)?)[$\u20ac\u00a3\u00a5]?"
    r"(?P<digits>\d{1,2}(?:,\d{2})+,\d{3}(?:\.\d+)?|\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.\d+|\.\d+|\d+)"
    r"(?P<more>\s?(?:%|percent|thousand|million|billion)|\s?/\s?\d+|\s\d+\s?/\s?\d+)?",
    re.IGNORECASE,
)
PLAIN = re.compile(r"[^A-Za-z]*|.{1,12}")


def stated(text: str) -> list[str]:
    """The texts that may be the answer, the best first. The first that can be read counts."""
    text = text.strip()
    found = [text] if len(text) <= SHORT_CHARS and PLAIN.fullmatch(text) else []
    for strategy in ("phrase", "label"):
        answer = extract(text, (strategy,))
        if answer:
            found.append(answer.text.strip("* "))
            found.extend(_within(answer.text))
            return found
    return found + _within(text)


def _within(text: str) -> list[str]:
    formulas = [
        next(filter(None, one.groups()))
        for one in FORMULA.finditer(text)
        if not (one[2] and MONEY.match(one[2]) and " " in one[2].strip())  # `$5 and $7` are prices
    ]
    if formulas:
        return formulas[-1:]
    numbers = list(LAST.finditer(text))
    if not numbers:
        return []
    last = numbers[-1]
    return [("-" if last["sign"] else "") + last["digits"] + (last["more"] or "")]
