"""Guard: responses that mostly repeat themselves."""

import zlib

from judge_service.grading.shaping import repeated_share

MIN_CHARS = 200
"""Shortest text that is checked; in a shorter one repetition is style."""

MAX_CHARS = 50_000
"""Limit of the text that is checked: the first and the last half of this, in at most 2 ms."""

MIN_RATIO = 5.0
"""Compression ratio of a repetitive text; English prose has 2, code 4 (docs/guards.md)."""

RUN_RATIO = 25.0
"""Compression ratio that only rows of one character or phrase reach, also in texts without spaces."""

MAX_SHARE = 0.8
"""Share of repeated phrases of four words in a repetitive text."""

NGRAM = 4

MANY_WORDS = 20
"""With this many words, half of them different, no phrase of four words can fill most of the text."""


def is_repetitive(response: str, reference: str | None) -> bool:
    """Whether the response mostly repeats itself, and the reference does not."""
    return _repeats(response) and (reference is None or not _repeats(reference))


def _repeats(text: str) -> bool:
    if len(text) < MIN_CHARS:
        return False
    if len(text) > MAX_CHARS:
        text = text[: MAX_CHARS // 2] + text[-MAX_CHARS // 2 :]
    # Bytes are split in half the time.
    words: list[bytes] | list[str] = text.encode().split() if text.isascii() else text.split()
    if MANY_WORDS <= len(words) <= 2 * len(set(words)) and len(text) < 12 * len(words):
        return False  # then neither limit can be reached; compression is expensive
    ratio = compression_ratio(text)
    if ratio < MIN_RATIO:
        return False
    return ratio >= RUN_RATIO or repeated_share(text, NGRAM) > MAX_SHARE


def compression_ratio(text: str) -> float:
    """The compression ratio of a text with zlib's fastest level.

    The window is 4 KB, which is longer than a loop; the usual 32 KB take ten times as long to set up.
    """
    data = text.encode("utf-8", "replace")
    packer = zlib.compressobj(1, zlib.DEFLATED, -12, 5)
    return len(data) / (len(packer.compress(data)) + len(packer.flush()))
