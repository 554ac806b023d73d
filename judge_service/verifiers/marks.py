"""Ranges of Unicode for character classes: Python's `re` has no classes for general categories."""

import unicodedata
from collections.abc import Iterator

LAST = 0x1_1FFF
"""The scripts that people write today, and the Brahmic scripts of plane 1."""


def _ranges(categories: str) -> Iterator[str]:
    """The ranges of all characters whose category begins with one of these letters."""
    start = None
    for code in range(0x80, LAST + 2):
        inside = unicodedata.category(chr(code))[0] in categories if code <= LAST else False
        if inside and start is None:
            start = code
        elif not inside and start is not None:
            yield f"{chr(start)}-{chr(code - 1)}"
            start = None


COMBINING = "".join(_ranges("M"))
"""Combining marks: vowel signs, viramas, points and accents, which `\\w` does not have."""

PUNCTUATION = "".join(_ranges("P"))
"""Punctuation beyond ASCII; mathematical and other symbols are not among it."""
