"""Users' regular expressions, run by RE2 in time linear in the text.

RE2 refuses what it cannot do in linear time (look-around, back-references). Each character may still cost the
pattern's size, so patterns and texts are bounded.
"""

import re2  # type: ignore[import-untyped]  # it ships no types

from judge_service.errors import RubricError

MAX_PATTERN_CHARS = 1_000

MAX_PROGRAM = 500
"""Most RE2 instructions, with repetitions written out."""

MAX_TEXT_CHARS = 20_000


def compiled(pattern: str, where: str, *, ignore_case: bool = False) -> "re2._Regexp[str]":
    """Compiles a pattern.

    where: its name in errors.

    Raises RubricError for a pattern that RE2 does not support or that is too large.
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
        raise RubricError(f"`{where}` is not a pattern of RE2: {_said(problem)}") from None
    if ready.programsize > MAX_PROGRAM:
        raise RubricError(
            f"`{where}` is too large when its repetitions are written out; simplify it"
        )
    return ready


def readable(text: str) -> str:
    """The text without lone surrogates, which RE2 does not accept."""
    return text if text.isascii() else text.encode(errors="replace").decode()


def _said(problem: Exception) -> str:
    said = problem.args[0] if problem.args else ""
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)
