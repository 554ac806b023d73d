"""Splits texts of any script into words and sentences; linear in the text."""

import re
import unicodedata

from judge_service.verifiers.marks import COMBINING

UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that write no spaces between words."""

WORD = re.compile(
    rf"[{UNSPACED}]|\d+(?:[.,]\d+)*|[^\W\d_{UNSPACED}](?:[^\W\d_{UNSPACED}]|[{COMBINING}](?<![{UNSPACED}]))*"
)
"""A word with its combining marks, a number, or one character of a script without spaces."""

SENTENCE = re.compile(r"(?<=[.!?\u061f])[\"')\]\u201d]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")


def words(text: str) -> list[str]:
    """The normalised words of a text."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def sentences(text: str) -> list[str]:
    """The sentences of a text; the end of a line ends a sentence."""
    return [piece for piece in SENTENCE.split(text) if piece.strip()]
