"""How large an event is that somebody else has parsed already."""

from typing import Any

from judge_service.errors import WireError

VALUE_BYTES = 2
"""The least that a value takes in JSON text, with what parts it from the next."""


def refuse_larger(event: Any, max_bytes: int) -> None:
    """Refuses what cannot have been JSON text of at most `max_bytes`.

    Counts the characters of all strings and two for each value, which is never more than the text
    had; stops as soon as that is too many. About 0.1 ms for a batch of 64 rows.

    Raises WireError.
    """
    left = max_bytes
    waiting = [event]
    while waiting:
        value = waiting.pop()
        left -= VALUE_BYTES
        if isinstance(value, str):
            left -= len(value)
        elif isinstance(value, dict):
            left -= sum([len(key) for key in value if isinstance(key, str)])
            waiting.extend(value.values())
        elif isinstance(value, list | tuple):
            waiting.extend(value)
        if left < 0 or len(waiting) * VALUE_BYTES > max_bytes:
            raise WireError("$", f"is longer than {max_bytes:,} bytes; send smaller batches")
