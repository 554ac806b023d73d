"""Guard: responses that give many possible answers, so that one of them is right."""

import re

from judge_service.grading.lazy_pattern import LazyPattern

MIN_BOXES = 4
"""Fewest different boxed answers that are a guess; a problem with parts has two or three."""

MIN_OPTIONS = 3

MAX_CHARS = 300
"""Longest response that is checked for a bare list of options."""

_BOX = LazyPattern(r"\\boxed\s*\{([^{}]{0,100})")
_OPTION = r"\(?(?:[A-Ja-j]|[-+]?\d{1,9}(?:\.\d{1,9})?)\)?"
_LEAD = (
    r"(?:(?:the\s)?(?:final\s)?(?:correct\s)?(?:answer|choice|option)s?"
    r"(?:\s(?:is|are|could\sbe|may\sbe|might\sbe))?[:\s]\s?)?"
)
_HEDGE = r"(?:either\s)?"
_JOIN = r"(?:\s?[,;/|]\s?(?:or\s|and\s)?|\s(?:or|and|oder|ou|o|und|и|или|或|或者)\s|\s)"
_FIRST = re.compile(
    r"\s*(?:the|final|correct|answers?|choices?|options?|either|\(?[a-j]|\(?[-+]?\d+)(?![a-z])",
    re.IGNORECASE,
)
"""The beginning of every list of options, and of few other texts."""
_LIST = LazyPattern(rf"{_LEAD}{_HEDGE}{_OPTION}(?:{_JOIN}{_OPTION})+\.?", re.IGNORECASE)
_ONE = LazyPattern(rf"{_LEAD}({_OPTION})\.?", re.IGNORECASE)
_OR = LazyPattern(r"[a-j]\)?\s?[/|]|\b(?:or|oder|ou|или)\b|或", re.IGNORECASE)
_EACH = LazyPattern(_OPTION)
_START = LazyPattern(_LEAD + _HEDGE, re.IGNORECASE)


def is_guessing(response: str, reference: str | None) -> bool:
    """Whether the response gives many answers to a question with one answer.

    Boxed answers are a guess if there are more of them than in the reference. A bare list of options is a
    guess if the reference is one option, or if the list has an "or" and the reference is not such a list.
    """
    boxes = _boxes(response)
    if len(boxes) >= MIN_BOXES:
        return len(boxes) > max(len(_boxes(reference or "")), MIN_BOXES - 1)
    return _lists_options(response, reference)


def _boxes(text: str) -> set[str]:
    return {found.strip() for found in _BOX.compiled.findall(text)} if "\\boxed" in text else set()


def _lists_options(response: str, reference: str | None) -> bool:
    if len(response) > MAX_CHARS or _FIRST.match(response) is None:
        return False
    text = " ".join(response.split())
    if _LIST.compiled.fullmatch(text) is None:  # nearly always, and at the first word
        return False
    if (
        len(set(_EACH.compiled.findall(_START.compiled.sub("", text, count=1).casefold())))
        < MIN_OPTIONS
    ):
        return False
    reference = (reference or "").strip()[: MAX_CHARS + 1]
    if _ONE.compiled.fullmatch(reference) is not None:
        return True
    return _OR.compiled.search(text) is not None and _LIST.compiled.fullmatch(reference) is None
