"""One form of a word, however it is written: case, width, accents, strokes, look-alike letters."""

import unicodedata

from judge_service.grading.lazy_pattern import LazyPattern

_MARKS = LazyPattern(
    "[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1-\u05c7\u0610-\u061a\u064b-\u0655\u0670"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u200c\u200d\u20d0-\u20f0\ufe20-\ufe2f]"
)
"""Accents, points, strokes and enclosing marks. Vowel signs of Indic scripts are letters, and stay."""

_APOSTROPHES = str.maketrans("", "", "'`\u2019\u02bc\u05f3\u2018")

_LATIN = str.maketrans(
    "\u0430\u0435\u043e\u0440\u0441\u0443\u0445\u0456\u0455\u0458\u0501\u051b\u051d\u04cf"  # Cyrillic
    "\u04bb\u043a\u0442\u043c\u043d\u0432"
    "\u03b1\u03b5\u03b9\u03bf\u03c1\u03c5\u03bd\u03c7\u03ba\u03c4"  # Greek
    "\u0131\u0261\u026a"
    "0134579$@",
    "aeopcyxisjdqwlhktmhbaeiopuvxktigioieastgsa",
)
"""Letters and digits that look like Latin ones."""


def fold(text: str) -> str:
    """`text` in lower case, with compatibility forms resolved, without accents, marks and apostrophes."""
    if text.isascii():
        return text.lower().replace("'", "").replace("`", "")
    text = unicodedata.normalize("NFKD", text.casefold()).translate(_APOSTROPHES)
    return unicodedata.normalize("NFC", _MARKS.compiled.sub("", text))


def plain_letters(word: str) -> str:
    """A word of Latin letters and look-alikes in Latin letters; any other word as it is."""
    if word.isalpha() and word.isascii():
        return word
    if not any("a" <= char <= "z" for char in word):
        return word
    return word.translate(_LATIN)
