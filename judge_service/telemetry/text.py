"""Text of others, made fit for a line or a page: bounded, and nothing in it that a terminal obeys."""

from typing import Any

import msgspec

MAX_LABEL_CHARS = 128
"""Of a sample's id; longer ones are cut, ids of ours and of trainers are below 64."""

_MAX_INT = 2**63


def plain(text: str, max_chars: int) -> str:
    """The first characters of `text`; control, bidi and invisible characters become spaces."""
    cut = text[:max_chars]
    if cut.isprintable():  # false for all of Unicode's "other" and for separators but the space
        return cut
    return "".join([char if char.isprintable() else " " for char in cut])


def label(ident: Any) -> str | float | None:
    """A sample's id as JSON can carry it: numbers as sent, text made plain, all else as text."""
    if isinstance(ident, str):
        return plain(ident, MAX_LABEL_CHARS)
    if ident is None or isinstance(ident, float) or _is_small(ident):
        return ident  # type: ignore[no-any-return] # an int, which typing counts as a float
    try:
        return plain(msgspec.json.encode(ident).decode(), MAX_LABEL_CHARS)
    except (TypeError, ValueError, RecursionError):
        return f"({type(ident).__name__})"


def _is_small(ident: Any) -> bool:
    return isinstance(ident, int) and -_MAX_INT < ident < _MAX_INT
