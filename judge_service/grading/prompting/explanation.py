"""Extracts the judge's written reason (`reasoning = "brief"`) from an answer, to store it with the reward.

A model that has read the candidate's text wrote it, so it is hostile. It is therefore limited to one line of
printable characters. Nothing is computed if the rubric asks for no reason.
"""

from collections.abc import Iterable, Sequence
from typing import Any

MAX_CHARS = 1_000
"""Longest reason of a judge call, in memory, in the journal and in replies. The requested sentence has about
500 characters (`REASON_TOKENS` of 4 characters); the rest is for judges that write two."""

FENCE = "```"


def explanation_in(data: Any, reasoning: str) -> str:
    """The reason in an object of the answer, `""` if it has none that is a text."""
    return legible(data.get("reason")) if reasoning == "brief" else ""


def explanation_before(text: str, reasoning: str) -> str:
    """The reason in the text channel: the text before the final object, without the start of a code fence."""
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
    cut = text[: 4 * MAX_CHARS]  # removed white space and control characters do not count
    line = " ".join("".join([c if c.isprintable() else " " for c in cut]).split())
    if len(line) <= MAX_CHARS and len(cut) == len(text):
        return line
    return line[: MAX_CHARS - 1] + "…"


def told_by(pieces: Iterable[tuple[str, str]]) -> str:
    """Joins the reasons of several sources on one line, each after its source; `""` without any."""
    return " ".join([f"({whose}) {text}" for whose, text in pieces if text])


def of_orders(texts: Sequence[str]) -> str:
    """Joins the reasons for a response of both orders of a comparison."""
    if len(texts) == 1:
        return texts[0]
    return told_by((f"order {number}", text) for number, text in enumerate(texts, 1))
