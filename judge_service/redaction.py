"""Hides our own secrets in what others say: a server's error text may echo the key that it was sent."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

MASK = b"***"

MIN_CHARS = 8
"""A shorter secret is not hidden: it would be found in ordinary words, and `EMPTY` is no secret."""

PREFIX_CHARS = 12
"""So many characters give a secret away, so that one that is cut off is hidden too. Of the keys in use the
first 8 say only whose they are (`sk-proj-`, `IQoJb3Jp`)."""


def hide(text: bytes, secrets: Iterable[bytes]) -> bytes:
    """The text with `***` in place of each secret, also where it is cut off or escaped as in JSON."""
    for secret in secrets:
        if len(secret) >= MIN_CHARS:
            text = _hide_one(text, secret)
    return text


def hide_in(text: str, secrets: Iterable[str]) -> str:
    """`hide` for text."""
    known = [secret.encode("utf-8", "surrogatepass") for secret in secrets]
    return hide(text.encode("utf-8", "surrogatepass"), known).decode("utf-8", "surrogatepass")


def _hide_one(text: bytes, secret: bytes) -> bytes:
    start, *rest = _patterns(secret)
    pieces, after = [], 0
    for found in start.finditer(text):
        if found.start() >= after:
            pieces += [text[after : found.start()], MASK]
            after = _end(text, found.end(), rest)
    return b"".join([*pieces, text[after:]])


def _end(text: bytes, position: int, rest: Sequence[re.Pattern[bytes]]) -> int:
    """Where the secret ends, or is cut off."""
    for pattern in rest:
        found = pattern.match(text, position)
        if found is None:
            break
        position = found.end()
    return position


@lru_cache(maxsize=16)
def _patterns(secret: bytes) -> Sequence[re.Pattern[bytes]]:
    """One for the secret's beginning and one for each byte after it."""
    each = [_escaped(byte) for byte in secret]
    return [re.compile(one) for one in (b"".join(each[:PREFIX_CHARS]), *each[PREFIX_CHARS:])]


def _escaped(byte: int) -> bytes:
    r"""A byte as it is, or as JSON may write it (`\/`, `\u002b`), with more backslashes in JSON in JSON."""
    return rb"\\*(?:%s|(?i:u00%02x))" % (re.escape(bytes([byte])), byte)
