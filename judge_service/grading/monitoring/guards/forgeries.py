"""Guard: texts that imitate the operator or the judge (prompt injection).

They are reported and never change a score: the fence and the parser make them harmless, and an honest
answer may quote them.
"""

import re
from collections.abc import Iterable

from msgspec import Struct

from judge_service.grading.lazy_pattern import LazyPattern

MAX_CHARS = 20_000
"""Limit of the text that is checked: the first and the last half of this. Most forgeries are at an end, and
a missed one changes no score."""


class Forgery(Struct, frozen=True):
    """One kind of forgery. words: in lower case; a text without any of them cannot match.

    marks: characters with the same meaning, which are faster to search.
    """

    name: str
    words: tuple[str, ...]
    pattern: LazyPattern
    marks: str = ""


_FENCE = LazyPattern(
    r"</?\s{0,3}(?:response|reference|task|item|criteria)\b[^<>\n]{0,40}>"
    r"|<[|\uff5c][a-z_\uff5c|\u2581 ]{1,40}[|\uff5c]>|\[/?inst\]|<</?sys>>|</?(?:start|end)_of_turn>"
    r"|^[#* ]{0,6}(?:system|assistant|human|user|developer)[* ]{0,3}:",
    re.MULTILINE,
)
_VERDICT = LazyPattern(
    r"[\"'](?:score|rating|grade|verdict|reward|similarity|correctness|overall)[\"']\s{0,3}:\s{0,3}[\"']?\d"
    r"|\b(?:score|rating|grade|verdict|reward)\b(?:\sis|\sof)?\s{0,3}[:=]?\s{0,3}\**(?:1\.0|10/10|5/5|100/100|10\b)"
    r"|\boutput\s(?:only\s)?(?:1\.0|1\b|10\b)|\[\[(?:10|5|1|a|b)\]\]"
)
_ALL = r"(?:all\s|any\s|the\s|of\s){0,3}"
_ORDER = LazyPattern(
    rf"\b(?:ignore|disregard|forget|override)\s{_ALL}(?:previous|prior|above|earlier|preceding|your)\b"
    r"|\bignor(?:a|e|iere|ez|er|iamo)\s(?:todas\s|toutes\s|alle\s|tutte\s)?"
    r"(?:las\s|les\s|le\s|as\s)?(?:instru[ck]|anweisungen|vorherigen|istruzioni)"
    r"|игнорируй|忽略(?:之前|以上|上面|所有)|指示を無視|지시를 무시|تجاهل (?:جميع )?التعليمات"
    r"|\bas\sthe\s(?:developer|operator|administrator)\sof\sthis\b"
)

_FENCE_WORDS = "<", "[inst]", "[/inst]", "system", "assistant", "human", "user", "developer"
_VERDICT_WORDS = (
    *("score", "rating", "grade", "verdict", "reward", "similarity", "correctness", "overall"),
    *("output", "[["),
)
_ORDER_WORDS = (
    *("ignor", "disregard", "forget", "override", "as the ", "игнорируй", "忽略", "無視", "무시"),
    "تجاهل",
)

FORGERIES = (
    Forgery("forged_fence", _FENCE_WORDS, _FENCE, marks="<[:"),
    Forgery("forged_verdict", _VERDICT_WORDS, _VERDICT, marks="15[\"'"),
    Forgery("forged_order", _ORDER_WORDS, _ORDER),
)


def forgeries(text: str) -> list[str]:
    """The names of the kinds of forgery in a text."""
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + text[-MAX_CHARS // 2 :]
    text = text.lower()
    return [kind.name for kind in FORGERIES if _is_in(text, kind)]


def _is_in(text: str, kind: Forgery) -> bool:
    return (
        (not kind.marks or _has_any(text, kind.marks))
        and _has_any(text, kind.words)
        and kind.pattern.compiled.search(text) is not None
    )


def _has_any(text: str, needles: Iterable[str]) -> bool:
    for needle in needles:  # noqa: SIM110 - `any` of a generator takes twice as long
        if needle in text:
            return True
    return False
