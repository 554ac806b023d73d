"""Guard: responses without content, such as punctuation or only the opening phrase of an answer."""

import re
import unicodedata
from functools import cache

from judge_service.grading.lazy_pattern import LazyPattern
from judge_service.grading.monitoring.guards.openers import FILLERS, OPENERS

MAX_CHARS = 400
"""Longest opener; a longer text with a letter has content."""

MAX_SYMBOLS = 3
"""Most repetitions of a symbol in an answer: `<`, `€€€` and an emoji can be answers, a longer row cannot."""

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
"""Longer than any opener, so a longer first phrase is not an opener; this decides for most responses."""

_FIRST_WORD = re.compile(r"([a-zA-Z0-9][a-zA-Z0-9']*)(?=[\s,.:;!?]|\Z)")
"""The first word of a text that begins with plain letters or digits; other texts are folded first."""

_JOINED = str.maketrans({"'": None, "\u2019": None, "`": None, "\u02bc": None, "-": " ", "_": " "})


def says_nothing(response: str, reference: str | None) -> bool:
    """Whether the response is only punctuation, an opener or a placeholder, and the reference is not.

    Letters in any script and digits are content, so "4", "C" and "No." are answers; so is an emoji.
    """
    if not _is_idle(response):
        return False
    return reference is None or _alike(reference) != _alike(response)


def _is_idle(text: str) -> bool:
    if not text[:1].isalnum():  # else it has a letter, and does not begin like a placeholder
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
        return False  # nearly always
    known, fillers = _known()
    first = phrases(text[:FIRST_CHARS])
    if first and first[0] not in known:
        return False
    said = set(phrases(text))
    return said <= known and (not said or not said <= fillers)


def phrases(text: str) -> list[str]:
    """The phrases between punctuation marks and line ends, normalized."""
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
    """All openers and fillers, and the fillers alone."""
    fillers = frozenset(phrases(FILLERS))
    return fillers.union(phrases(OPENERS)), fillers
