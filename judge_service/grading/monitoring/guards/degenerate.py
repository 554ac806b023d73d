"""Answers that say nothing: punctuation, or only what opens an answer."""

import re
import unicodedata
from functools import cache

from judge_service.grading.lazy_pattern import LazyPattern
from judge_service.grading.monitoring.guards.openers import FILLERS, OPENERS

MAX_CHARS = 400
"""A longer text with a letter in it is more than an opener."""

MAX_SYMBOLS = 3
"""Of one symbol; `<`, `€€€` and an emoji can be answers, a row of one symbol cannot."""

_LETTER = re.compile(r"[^\W_]")
_TAGS = (
    "answer|response|reasoning|solution|reflection|scratchpad|thinking|think|output|analysis|final"
)
_MARKUP = LazyPattern(
    rf"</?(?:{_TAGS})>|\\(?:boxed|text|textbf|mathrm)(?=\s*\{{\s*\}})|```[a-z0-9+#]*", re.IGNORECASE
)
_PLACEHOLDER = LazyPattern(
    r"[\[{<($%\s]+(?:(?:insert|your|the|reference|ground|gold|correct|final|expected|model|ref)[\s_-]{1,3}){0,4}"
    r"(?:answer|reference|response|solution|truth|completion|output|text|label)(?:[\s_-]here)?[\]}>)%\s]*",
    re.IGNORECASE,
)
_CUT = LazyPattern(
    r"[!-/:-@\[-`{-~\n\r\t\u00a1-\u00bf\u00d7\u00f7\u037e\u0387\u055a-\u055f\u0589\u05be\u05c0\u05c3\u060c\u061b\u061f"
    r"\u06d4\u0964\u0965\u0e2f\u0e5a\u0e5b\u1800-\u180a\u2010-\u2bff\u2e00-\u2e7f\u3001-\u3003\u3008-\u3020\u3030"
    r"\u30fb\ufe10-\ufe6f\U0001f000-\U0001faff]"
)
"""Punctuation and symbols of all scripts after compatibility folding; `\\W` has vowel signs too."""

FIRST_CHARS = 100
"""More than any opener; a longer first phrase is none, and most answers are known by it."""

_FIRST_WORD = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9']*)(?=[\s,.:;!?]|\Z)")
"""At the very start of a text and plain; how other texts begin is seen when they are folded."""

_JOINED = str.maketrans({"'": None, "\u2019": None, "`": None, "\u02bc": None, "-": " ", "_": " "})


def says_nothing(response: str, reference: str | None) -> bool:
    """Whether the answer is only punctuation, an opener or a placeholder, and the reference is not the same.

    Letters in any script and digits say something, so "4", "C" and "No." do; so does an emoji.
    """
    if not _is_idle(response):
        return False
    return reference is None or _alike(reference) != _alike(response)


def _is_idle(text: str) -> bool:
    if not text[:1].isalnum():  # else there is a letter, and it is no placeholder's first character
        if _LETTER.search(text) is None:
            return _is_punctuation(text)
        if len(text) <= MAX_CHARS and _PLACEHOLDER.compiled.fullmatch(text) is not None:
            return True
    return len(text) <= MAX_CHARS and _is_opener(text)


def _is_punctuation(text: str) -> bool:
    symbols = [
        char for char in text[: MAX_CHARS + 1] if unicodedata.category(char) in {"Sm", "Sc", "So"}
    ]
    return (
        len(text) > MAX_CHARS
        or not symbols
        or (len(set(symbols)) == 1 and len(symbols) > MAX_SYMBOLS)
    )


def _is_opener(text: str) -> bool:
    word = _FIRST_WORD.match(text) if text.isascii() else None
    if word is not None and word[1].replace("'", "").casefold() not in _first_words():
        return False  # as nearly all
    known, fillers = _known()
    first = phrases(text[:FIRST_CHARS])
    if first and first[0] not in known:
        return False
    said = set(phrases(text))
    return said <= known and (not said or not said <= fillers)


def phrases(text: str) -> list[str]:
    """What stands between punctuation marks and line ends, in one spelling."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    if any(mark in folded for mark in ("<", "\\", "```")):
        folded = _MARKUP.compiled.sub("\n", folded)
    folded = folded.translate(_JOINED)
    return [phrase for piece in _CUT.compiled.split(folded) if (phrase := " ".join(piece.split()))]


def _alike(text: str) -> object:
    text = text.strip()
    return (phrases(text[:MAX_CHARS]) or text[:MAX_CHARS]), len(text) > MAX_CHARS


@cache
def _first_words() -> frozenset[str]:
    return frozenset(phrase.split()[0] for phrase in _known()[0])


@cache
def _known() -> tuple[frozenset[str], frozenset[str]]:
    """All phrases, and those of them that only fill."""
    fillers = frozenset(phrases(FILLERS))
    return fillers.union(phrases(OPENERS)), fillers
