"""Normalises texts: removes differences in typing, case and layout that do not change the meaning."""

import re
import unicodedata

PUNCTUATION = re.compile(r"[^\w\s%+\-]|_")
SIGN_ALONE = re.compile(r"(?<!\w)[+\-](?!\w)|(?<=\w)-(?=\w)|(?<=\w)-(?!\w)")
LAYOUT = re.compile(
    r"\\(?:text|mathrm|textbf|mathbf)\{([^{}]*)\}|\\[,;!: ]|\\(?:left|right)\b|\$|~"
)


def unwrapped(text: str) -> str:
    r"""A LaTeX answer without layout: `\text{...}`, spacing, `\left`, dollar signs."""
    if "\\" not in text and "$" not in text and "~" not in text:
        return text
    return LAYOUT.sub(lambda mark: mark[1] or "", text)


def plain(text: str, *, case: bool = False, punctuation: bool = False) -> str:
    """The text in NFKC with single spaces.

    case: keep capital letters. punctuation: keep it; signs before numbers and `%` always stay.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    if not case:
        text = text.casefold()
    if not punctuation and not text.isalnum():
        text = SIGN_ALONE.sub(" ", _without_punctuation(text))
    return " ".join(text.split())


def _without_punctuation(text: str) -> str:
    """The text without punctuation; marks between digits (`3.14`, `1:30`, `2/3`) stay."""
    return PUNCTUATION.sub(
        lambda mark: mark[0] if _between_digits(text, mark.start()) else " ", text
    )


def _between_digits(text: str, place: int) -> bool:
    return 0 < place < len(text) - 1 and text[place - 1].isdigit() and text[place + 1].isdigit()
