"""The judge's written reason (`reasoning = "brief"`), fit to be kept beside the reward.

It is text of a model that has read the candidate's, so it is hostile: bounded, one line, nothing but
printable characters. Nothing is computed where a rubric asks for no reason.
"""

from collections.abc import Iterable, Sequence
from typing import Any

MAX_CHARS = 1_000
"""The asked sentence has about 500 (`REASON_TOKENS` of 4 characters); the rest is for those who write two. At
most so much of one judge call is kept, in memory, in the journal and in replies."""

FENCE = "```"


def explanation_in(data: Any, reasoning: str) -> str:
    """The reason in an object of the answer, `""` if it holds none as text."""
    return legible(data.get("reason")) if reasoning == "brief" else ""


def explanation_before(text: str, reasoning: str) -> str:
    """The reason in the text channel: what stands before the final object, a code fence's opening aside."""
    if reasoning != "brief":
        return ""
    said = text[: max(text.rfind("{"), 0)].rstrip()
    if FENCE in said.rpartition("\n")[2]:
        said = said[: said.rfind(FENCE)]
    return legible(said)


def legible(text: Any) -> str:
    """At most `MAX_CHARS` printable characters on one line, cut at the end; `""` if it is not text."""
    if not isinstance(text, str):
        return ""
    cut = text[
        : 4 * MAX_CHARS
    ]  # white space and control characters that are dropped are not counted
    line = " ".join("".join([c if c.isprintable() else " " for c in cut]).split())
    if len(line) <= MAX_CHARS and len(cut) == len(text):
        return line
    return line[: MAX_CHARS - 1] + "…"


def told_by(pieces: Iterable[tuple[str, str]]) -> str:
    """Reasons of several sources on one line, each behind whose it is; `""` if nobody gave one."""
    return " ".join([f"({whose}) {text}" for whose, text in pieces if text])


def of_orders(texts: Sequence[str]) -> str:
    """The reasons that were given for a response in each order it was compared in."""
    if len(texts) == 1:
        return texts[0]
    return told_by((f"order {number}", text) for number, text in enumerate(texts, 1))
