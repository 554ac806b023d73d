"""Guard: responses that only repeat the prompt."""

import re
from collections import Counter
from collections.abc import Sequence

from judge_service.grading.monitoring.guards.degenerate import (
    is_only_talk,
    last_turn,
    says_nothing,
    split_words,
)
from judge_service.grading.monitoring.guards.fold import fold
from judge_service.values import Message

MIN_CHARS = 40
"""Shortest prompt that is checked; a shorter one may be its own answer (a greeting)."""

MAX_CHARS = 20_000
"""Longest prompt whose words are counted."""

MAX_LOST_SHARE = 0.1
"""Share of the prompt's words that a copy may lack."""

END_WORDS = 2
"""Words of each end of the prompt that stand together in a copy; an edited text lacks its order."""

_LETTERS = re.compile(r"[\W_]+")
_END_CHARS = 10


def is_copy(response: str, messages: Sequence[Message], reference: str | None) -> bool:
    """Whether the response is the last user message with nothing added, and the reference is not.

    It may have other punctuation, and words may be left out (a tenth at most) or moved, if the prompt asks a
    question or is the only message: otherwise another message may ask to edit the text.
    """
    prompt = last_turn(messages)
    if len(prompt) < MIN_CHARS or not _may_be(response, prompt):
        return False
    is_asking = len(messages) == 1 or "?" in prompt or "\u061f" in prompt or "\uff1f" in prompt
    if not _is_only(response, prompt, is_asking=is_asking):
        return False
    return reference is None or not _is_only(reference, prompt, is_asking=True)


def _may_be(text: str, prompt: str) -> bool:
    """Whether it is worth to fold both texts; nearly always false."""
    if prompt in text:
        return True
    size = len(prompt)
    # Half to double the length allows for other spacing and punctuation.
    if not size // 2 <= len(text) <= 2 * size or size > MAX_CHARS:
        return False
    if prompt[:_END_CHARS] in text and prompt[-_END_CHARS:] in text:
        return True
    return _letters(text[:MIN_CHARS])[:10] == _letters(prompt[:MIN_CHARS])[:10]


def _is_only(text: str, prompt: str, *, is_asking: bool) -> bool:
    if prompt in text:
        rest = text.replace(prompt, "\n")
        return is_only_talk(fold(rest)) or says_nothing(rest, None)
    if len(text) > 2 * len(prompt):
        return False
    if not is_asking:
        return False
    if _letters(text) == _letters(prompt):
        return True
    if prompt[:_END_CHARS] not in text or prompt[-_END_CHARS:] not in text:
        return False  # nearly always; folding whole texts is expensive
    return _adds_no_word(split_words(fold(text)), split_words(fold(prompt)))


def _adds_no_word(said: list[str], asked: list[str]) -> bool:
    added = (Counter(said) - Counter(asked)).elements()
    if not is_only_talk(" ".join(added)):
        return False
    kept = iter(said)
    if all(word in kept for word in asked):
        return True
    lost = (Counter(asked) - Counter(said)).total()
    whole = f" {' '.join(said)} "
    ends = asked[:END_WORDS], asked[-END_WORDS:]
    return lost <= MAX_LOST_SHARE * len(asked) and all(
        f" {' '.join(end)} " in whole for end in ends
    )


def _letters(text: str) -> str:
    return _LETTERS.sub("", text.casefold())
