"""Makes foreign text safe for a log line or a page: bounded, without control characters."""

from typing import Any

import msgspec

MAX_LABEL_CHARS = 128
"""Most characters of a sample's id; longer ids are cut. Our ids and those of trainers have fewer than 64."""

_MAX_INT = 2**63


def plain(text: str, max_chars: int) -> str:
    """The first characters of `text`, with spaces for control, bidi and invisible characters."""
    cut = text[:max_chars]
    if cut.isprintable():  # false for all of Unicode's "other" and for separators but the space
        return cut
    return "".join([char if char.isprintable() else " " for char in cut])


def label(ident: Any) -> str | float | None:
    """A sample's id for JSON: numbers as sent, text made safe, everything else as text."""
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
