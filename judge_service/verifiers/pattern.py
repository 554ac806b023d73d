"""Regular expressions of users, on RE2: time linear in the text, whatever the pattern.

RE2 refuses what it cannot do linearly (look-around, back-references). It still costs up to the
pattern's size per character, so that patterns are bounded and so is the text they see.
"""

import re2  # type: ignore[import-untyped]  # it ships no types

from judge_service.errors import RubricError

MAX_PATTERN_CHARS = 1_000

MAX_PROGRAM = 500
"""RE2's instructions, repetitions written out."""

MAX_TEXT_CHARS = 20_000


def compiled(pattern: str, where: str, *, ignore_case: bool = False) -> "re2._Regexp[str]":
    """The pattern, ready.

    where: how an error calls it.

    Raises RubricError for a pattern that RE2 cannot do, or that is too large.
    """
    if len(pattern) > MAX_PATTERN_CHARS:
        raise RubricError(f"`{where}` has {len(pattern)} characters; at most {MAX_PATTERN_CHARS}")
    options = re2.Options()
    options.never_capture = True
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        ready = re2.compile(pattern, options)
    except re2.error as problem:
        raise RubricError(f"`{where}` is no pattern of RE2: {_said(problem)}") from None
    if ready.programsize > MAX_PROGRAM:
        raise RubricError(
            f"`{where}` is too large when its repetitions are written out; simplify it"
        )
    return ready


def readable(text: str) -> str:
    """The text as RE2 can take it: half a surrogate pair is no character."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _said(problem: Exception) -> str:
    said = problem.args[0] if problem.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
