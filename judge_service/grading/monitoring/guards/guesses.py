"""Guard: responses that give many possible answers, so that one of them is right."""

import re
from collections.abc import Sequence

from judge_service.grading.lazy_pattern import LazyPattern
from judge_service.grading.monitoring.guards.degenerate import are_known, last_turn, split_words
from judge_service.grading.monitoring.guards.fold import fold
from judge_service.grading.monitoring.guards.talk import read_words
from judge_service.values import Message

MIN_BOXES = 4
"""Fewest different boxed answers that are a guess; a problem with parts has two or three."""

MIN_OPTIONS = 3

MIN_CHARS, MAX_CHARS = 5, 300
"""Shortest and longest response that is checked for a bare list of options."""

_BOX = LazyPattern(r"\\boxed\s*\{([^{}]{0,100})")
_WRAPPED = LazyPattern(r"\\boxed\s*\{([^{}]{0,100})\}|[*$]+(?=\S)|(?<=\S)[*$]+")
_PARTS = LazyPattern(r"[?\u061f\uff1f]|(?<!\w)\(?[a-h1-9][).](?=\s)")
"""What a prompt with several questions has."""

_OPTION = r"\(?(?:[A-Ja-j]|[-+]?[\u20ac\xa3]?\d{1,9}(?:\.\d{1,9})?%?)\)?"
_ORS = (
    "or|oder|ou|o|of|lub|albo|nebo|eller|tai|vagy|sau|veya|ya da|atau|hay|ho\u1eb7c"
    "|\u03ae|\u0438\u043b\u0438|\u0430\u0431\u043e|\u05d0\u05d5|\u0623\u0648|\u06cc\u0627"
    "|\u092f\u093e|\u09ac\u09be|\u0b85\u0bb2\u0bcd\u0bb2\u0ba4\u0bc1|\u0c32\u0c47\u0c26\u0c3e"
    "|\u0e2b\u0e23\u0e37\u0e2d|\u6216|\u6216\u8005|\u307e\u305f\u306f|\u304b|\ub610\ub294"
)
"""The word "or" in 27 languages. Other words between numbers ("times") can be a calculation."""

_JOIN = (
    rf"(?:\s?[,;/|\u3001\uff0c]\s?(?:(?:{_ORS}|and)\s)?|\s?(?:{_ORS})\s?(?:else\s)?"
    r"|\s(?:and|und|y|et|e|\u0438)\s|\s)"
)
_LIST = LazyPattern(
    rf"(?<![^\W_])({_OPTION}(?:{_JOIN}{_OPTION})++)(?:[.!\u3002])?\Z", re.IGNORECASE
)
_ONE = LazyPattern(
    rf"(?:(?:the\s)?(?:final\s)?(?:correct\s)?(?:answer|choice|option)(?:\sis)?[:\s]\s?)?({_OPTION})\.?",
    re.IGNORECASE,
)
_OR = LazyPattern(rf"[a-j]\)?\s?[/|]|(?<![^\W\d_])(?:{_ORS})(?![^\W\d_])", re.IGNORECASE)
_WORD = re.compile(r"(?<![^\W_])[a-zA-Z]{2,}(?![^\W_])")
_HEDGES = frozenset(
    ("either", "else", "maybe", "perhaps", "possibly", "probably", "boxed", "and", *_ORS.split("|"))
)
_EACH = LazyPattern(_OPTION)


def is_guessing(response: str, reference: str | None, messages: Sequence[Message] = ()) -> bool:
    """Whether the response gives many answers to a question with one answer.

    Boxed answers are a guess if there are more of them than in the reference, unless it has all of them as
    text or the prompt asks for as many. A bare list of options is a guess if the reference is one option or
    if the list has an "or" and the reference is not such a list.
    """
    boxes = _boxes(response)
    if len(boxes) >= MIN_BOXES:
        text = reference or ""
        if len(boxes) <= max(len(_boxes(text)), MIN_BOXES - 1) or all(box in text for box in boxes):
            return False
        return len(_PARTS.compiled.findall(last_turn(messages))) < len(boxes)
    return _lists_options(response, reference)


def _boxes(text: str) -> set[str]:
    return {found.strip() for found in _BOX.compiled.findall(text)} if "\\boxed" in text else set()


def _lists_options(response: str, reference: str | None) -> bool:
    if not MIN_CHARS <= len(response) <= MAX_CHARS or not (
        _ends_in_option(response) and _names_only_options(response)
    ):
        return False
    text = _plain(response)
    found = _LIST.compiled.search(text)
    if found is None:
        return False
    before = [one for one in split_words(fold(text[: found.start()])) if one not in _HEDGES]
    if before and not are_known(before):
        return False
    if len(set(_EACH.compiled.findall(found[1].casefold()))) < MIN_OPTIONS:
        return False
    reference = _plain((reference or "")[: MAX_CHARS + 1])
    if _ONE.compiled.fullmatch(reference) is not None:
        return True
    return _OR.compiled.search(found[1]) is not None and _LIST.compiled.search(reference) is None


def _names_only_options(text: str) -> bool:
    """Whether the Latin words of a text are about answering; mostly false, at the first word."""
    known = read_words().any
    for found in _WORD.finditer(text):
        word = found[0].lower()
        if word not in known and word not in _HEDGES:
            return False
    return True


def _ends_in_option(text: str) -> bool:
    """Whether the end is a digit or a single letter; false for nearly all texts."""
    end = text[-8:].rstrip(" .!)}]*$%\n\u3002")
    return end[-1:].isdigit() or (end[-1:] in "ABCDEFGHIJabcdefghij" and not end[-2:-1].isalpha())


def _plain(text: str) -> str:
    if "\\" in text or "*" in text or "$" in text:
        text = _WRAPPED.compiled.sub(lambda found: found[1] or "", text)
    return " ".join(text.split())
