"""Answers that go round in circles, or are filled up with one phrase."""

import zlib

from judge_service.grading.shaping import repeated_share

MIN_CHARS = 200
"""Below, repetition is style."""

MAX_CHARS = 50_000
"""Read of a text: its first and its last half of this. 2 ms at most."""

MIN_RATIO = 5.0
"""Compression to a fifth; English prose comes to 2, code to 4 (docs/guards.md)."""

RUN_RATIO = 25.0
"""Compression that only rows of one character or phrase reach, in texts without spaces too."""

MAX_SHARE = 0.8
"""Share of the phrases of four words that stood there before."""

NGRAM = 4

MANY_WORDS = 20
"""Of so many, half of them different, no phrase of four can be most of the text."""


def is_repetitive(response: str, reference: str | None) -> bool:
    """Whether most of the answer was said before in it, and the reference is not of that kind."""
    return _repeats(response) and (reference is None or not _repeats(reference))


def _repeats(text: str) -> bool:
    if len(text) < MIN_CHARS:
        return False
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + text[-MAX_CHARS // 2 :]
    # Bytes, which are split in half the time.
    words: list[bytes] | list[str] = text.encode().split() if text.isascii() else text.split()
    if MANY_WORDS <= len(words) <= 2 * len(set(words)) and len(text) < 12 * len(words):
        return False  # then neither ratio nor share can be reached, and packing is dear
    ratio = compression_ratio(text)
    if ratio < MIN_RATIO:
        return False
    return ratio >= RUN_RATIO or repeated_share(text, NGRAM) > MAX_SHARE


def compression_ratio(text: str) -> float:
    """How many times smaller zlib makes a text, at its quickest level.

    With a window of 4 KB: a loop is shorter, and the usual window of 32 KB takes ten times as long to open.
    """
    data = text.encode("utf-8", "replace")
    packer = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    return len(data) / (len(packer.compress(data)) + len(packer.flush()))
