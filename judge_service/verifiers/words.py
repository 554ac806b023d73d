"""Splits texts of any script into words and sentences; linear in the text."""

import re
import unicodedata

WORD = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]|\d+(?:[.,]\d+)*"
    r"|[^\W\d_\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]+"
)
"""A word, a number, or one character of a script that writes no spaces between words."""

SENTENCE = re.compile(r"(?<=[.!?\u061f])[\"')\]\u201d]*\s+|(?<=[\u3002\uff01\uff1f])|\n+")


def words(text: str) -> list[str]:
    """The normalised words of a text."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def sentences(text: str) -> list[str]:
    """The sentences of a text; the end of a line ends a sentence."""
    return [piece for piece in SENTENCE.split(text) if piece.strip()]
