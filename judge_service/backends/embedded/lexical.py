"""Compares two texts without a model: chrF, and two gates for numbers and negations.

A sentence model finds "it costs 12 euros" and "it costs 21 euros" nearly equal, and "you may" and "you may
not" too. The gates detect these differences: each is a factor in (0, 1] on the score. They read English
number words and negations, and the digits of any language.

All functions are pure, deterministic and linear in the length of the text, which the caller bounds.
"""

import re
import unicodedata
from collections import Counter

CHRF_ORDER = 6
CHRF_BETA = 2.0
"""The published value: recall counts twice as much as precision."""

NUMBER_FLOOR = 0.3
"""The factor when none of the reference's numbers is right."""

NEGATION_FLOOR = 0.4
"""The factor when one text denies what the other says."""

MAX_NEGATION_WORDS = 50
"""Longest text with a negation gate; in longer texts the number of negations is chance."""

FINAL_ANSWER_MARK = "####"
"""Separates the working from the answer in references in the GSM8K form."""

_UNITS = re.findall(
    r"\w+",
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen"
    " sixteen seventeen eighteen nineteen",
)
_TENS = re.findall(r"\w+", "twenty thirty forty fifty sixty seventy eighty ninety")
_WORD_VALUES = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * (place + 2) for place, word in enumerate(_TENS)
}
_NUMBER = re.compile(
    r"(?<![\w.])-?(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?"
    rf"|\b(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(_UNITS[1:10])}))?|{'|'.join(_UNITS)})\b"
)
_ONE = re.compile(r"(?<!ty[- ])\bone\b")
_LIST_MARK = re.compile(r"^\s*[0-9]{1,2}[.)]\s", re.MULTILINE)
_NEGATION = re.compile(
    r"\b(?:no|not|never|none|nobody|nothing|neither|cannot|without)\b|n't\b", re.ASCII
)
_INVISIBLE = re.compile(r"[\u200b-\u200f\u2060\ufeff\u00ad]")


def normalise(text: str) -> str:
    """Unifies compatibility forms, case, apostrophes and invisible characters."""
    text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).casefold()
    return text.replace("\u2019", "'").strip()


def says_something(text: str) -> bool:
    """Whether the text has a letter or a digit."""
    return any(character.isalnum() for character in text)


def f_score(precision: float, recall: float, beta: float = CHRF_BETA) -> float:
    """Van Rijsbergen's weighted harmonic mean; recall weighs `beta` times as much as precision."""
    if precision + recall == 0:
        return 0.0
    return (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def chrf(response: str, reference: str) -> float:
    """Character n-gram F-score in [0, 1] (Popović 2015, WMT), orders 1 to 6, without white space.

    Precision and recall are averaged over the orders that both texts are long enough for.
    """
    one, other = "".join(response.split()), "".join(reference.split())
    orders = range(1, min(CHRF_ORDER, len(one), len(other)) + 1)
    if not orders:
        return 0.0
    precision = recall = 0.0
    for order in orders:
        got, wanted = _ngrams(one, order), _ngrams(other, order)
        common = (got & wanted).total()
        precision += common / got.total()
        recall += common / wanted.total()
    return f_score(precision / len(orders), recall / len(orders))


def _ngrams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def numbers(text: str) -> list[str]:
    """The numbers of a normalised text in one notation, in order, without those of numbered lists."""
    return [_canonical(match) for match in _NUMBER.findall(_LIST_MARK.sub(" ", text))]


def _canonical(number: str) -> str:
    if number[0].isalpha():
        return str(sum(_WORD_VALUES[word] for word in re.split("[- ]", number)))
    whole, _, fraction = number.replace(",", "").removeprefix("-").partition(".")
    value = ".".join(filter(None, (whole.lstrip("0") or "0", fraction.rstrip("0"))))
    return f"-{value}" if number[0] == "-" and value != "0" else value


def number_factor(response: str, reference: str) -> float:
    """The factor for numbers, from `NUMBER_FLOOR` (none right) to 1 (equal sets, or no numbers).

    A missing number costs more than a surplus one (F2). The word "one" is ignored in references, because it
    is often not a number. If the reference marks its final answer, only that number counts, and it must be
    the response's last number.
    """
    final = FINAL_ANSWER_MARK in reference
    asked = reference.rpartition(FINAL_ANSWER_MARK)[2] if final else _ONE.sub(" ", reference)
    wanted = set(numbers(asked))
    if not wanted:
        return 1.0
    said = numbers(response)
    got = set(said[-1:] if final else said)
    if not got:
        return NUMBER_FLOOR
    common = len(got & wanted)
    return NUMBER_FLOOR + (1 - NUMBER_FLOOR) * f_score(common / len(got), common / len(wanted))


def negation_factor(response: str, reference: str) -> float:
    """`NEGATION_FLOOR` when, of two short texts, one denies an odd number of times and the other never.

    If both deny, the count depends on phrasing ("do not take it without", "don't take it before").
    """
    if max(len(response.split()), len(reference.split())) > MAX_NEGATION_WORDS:
        return 1.0
    fewer, more = sorted(len(_NEGATION.findall(text)) for text in (response, reference))
    return NEGATION_FLOOR if fewer == 0 and more % 2 == 1 else 1.0
