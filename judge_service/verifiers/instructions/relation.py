"""Shared by instructions: comparing a count, and splitting a text at markers."""

from typing import Annotated, Literal

from msgspec import Meta

Relation = Literal["at least", "less than"]

Count = Annotated[int, Meta(ge=0, le=1_000_000)]

Phrase = Annotated[str, Meta(min_length=1, max_length=20_000)]

Phrases = Annotated[tuple[Phrase, ...], Meta(min_length=1, max_length=64)]


def holds(count: int, relation: Relation, wanted: int) -> bool:
    """Whether a count fits the relation."""
    return count >= wanted if relation == "at least" else count < wanted


def parted(text: str, mark: str) -> list[str] | None:
    """The stripped pieces between markers; `None` if a piece between two markers is empty."""
    pieces = [piece.strip() for piece in text.split(mark)]
    inner = pieces[1:-1]
    return [piece for piece in pieces if piece] if all(inner) else None
