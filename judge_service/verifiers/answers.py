"""Shared by verifiers of a stated answer: extraction, partial credit, and no credit for guessing."""

from collections.abc import Callable
from typing import Annotated, Literal, TypeVar

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check
from judge_service.verifiers.extract import (
    MAX_ANSWER_CHARS,
    UNMARKED,
    Found,
    MaxValues,
    Strategies,
    extract,
)

R = TypeVar("R")

Outcome = Literal["right", "wrong", "malformed"]
"""How an answer compares. `malformed`: it is not of the right kind, so it gets no credit for its form."""

DETAILS = {
    "right": "the stated answer equals the reference",
    "wrong": "the stated answer does not equal the reference",
    "malformed": "the stated answer is not of this kind, or there are several answers",
}


class AnswerOptions(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of every verifier that extracts an answer."""

    strategies: Annotated[
        Strategies,
        Meta(
            description="Where an answer is looked for; the first strategy that finds one decides."
        ),
    ] = ("boxed", "hashes", "answer_tag", "solution", "phrase", "whole")
    max_values: MaxValues = 1
    format_score: Annotated[
        float,
        Meta(
            ge=0, lt=1, description="Score of a wrong answer that is marked and of the right kind."
        ),
    ] = 0.0


def grade(
    sample: Sample,
    options: AnswerOptions,
    gold: R | None,
    compare: Callable[[str, R], Outcome],
    max_chars: int = MAX_ANSWER_CHARS,
) -> Check:
    """Checks the answer that the sample's response states.

    gold: the reference in the form that `compare` takes, `None` when the sample has no usable reference.
    max_chars: a longer answer is ignored.
    """
    if sample.response is None:
        return Check(score=None, reason="no_response")
    if gold is None:
        detail = "there is no reference that this verifier can compare with"
        return Check(score=None, reason="no_reference", detail=detail)
    found = extract(sample.response, options.strategies)
    if found is None:
        return Check(score=0.0, detail="the response states no answer")
    if found.values > options.max_values:
        detail = f"the response states {found.values} different answers"
        return Check(score=0.0, detail=detail)
    outcome = compare(found.text, gold) if len(found.text) <= max_chars else "malformed"
    return Check(score=_score(outcome, found, options), detail=DETAILS[outcome])


def _score(outcome: Outcome, found: Found, options: AnswerOptions) -> float:
    if outcome == "wrong":
        return 0.0 if found.strategy in UNMARKED else options.format_score
    return 1.0 if outcome == "right" else 0.0
