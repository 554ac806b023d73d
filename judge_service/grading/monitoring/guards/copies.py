"""Guard: responses that only repeat the prompt."""

import re
from collections.abc import Sequence

from judge_service.grading.monitoring.guards.degenerate import says_nothing
from judge_service.values import Message

MIN_CHARS = 40
"""Shortest prompt that is checked; a shorter one may be its own answer (a greeting)."""

_WORDS = re.compile(r"[\W_]+")


def is_copy(response: str, messages: Sequence[Message], reference: str | None) -> bool:
    """Whether the response is the last user message, alone or with an opener, and the reference is not."""
    prompt = _last_turn(messages)
    if len(prompt) < MIN_CHARS or not _is_only(response, prompt):
        return False
    return reference is None or not _is_only(reference, prompt)


def _last_turn(messages: Sequence[Message]) -> str:
    for one in reversed(messages):
        if one.role == "user":
            return one.content.strip()
    return ""


def _is_only(text: str, prompt: str) -> bool:
    if prompt in text:
        rest = text.replace(prompt, "\n")
        return not rest.strip() or says_nothing(rest, None)
    # Half to double the length allows for other spacing and punctuation, and saves folding other long texts.
    if not len(prompt) // 2 <= len(text) <= 2 * len(prompt):
        return False
    if _folded(text[:MIN_CHARS])[:10] != _folded(prompt[:MIN_CHARS])[:10]:
        return False  # nearly always; folding whole texts is expensive
    return _folded(text) == _folded(prompt)


def _folded(text: str) -> str:
    return _WORDS.sub("", text.casefold())
