"""Hides our secrets in texts of others, because a server's error may contain the key that it received."""

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

MASK = b"***"

USERINFO = re.compile(r"(?<=://)[^\s/?#]+(?=@)")
"""What stands before the host in a URL: user and password, or a token."""

MIN_CHARS = 8
"""Shortest secret that is hidden. A shorter one may occur in ordinary words, and `EMPTY` is not a secret."""

PREFIX_CHARS = 12
"""Fewest characters of a truncated secret that are hidden. The first 8 characters of usual keys are only the
name of their issuer (`sk-proj-`, `IQoJb3Jp`)."""


def hide(text: bytes, secrets: Iterable[bytes]) -> bytes:
    """Replaces each secret in the text by `***`, also if it is truncated or escaped as in JSON."""
    for secret in secrets:
        if len(secret) >= MIN_CHARS:
            text = _hide_one(text, secret)
    return text


def hide_userinfo(text: str) -> str:
    """Replaces user and password in each URL of the text by `***`."""
    return USERINFO.sub("***", text)


def hide_in(text: str, secrets: Iterable[str]) -> str:
    """The same as `hide` for a `str`."""
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
    """The position where the secret ends or is truncated."""
    for pattern in rest:
        found = pattern.match(text, position)
        if found is None:
            break
        position = found.end()
    return position


@lru_cache(maxsize=16)
def _patterns(secret: bytes) -> Sequence[re.Pattern[bytes]]:
    """Patterns for the secret's beginning and for each byte after it."""
    each = [_escaped(byte) for byte in secret]
    return [re.compile(one) for one in (b"".join(each[:PREFIX_CHARS]), *each[PREFIX_CHARS:])]


def _escaped(byte: int) -> bytes:
    r"""Matches a byte unescaped, or escaped as in JSON (`\/`, `\u002b`), also with repeated backslashes."""
    return rb"\\*(?:%s|(?i:u00%02x))" % (re.escape(bytes([byte])), byte)
