r"""`boxed`: compares the answer in `\boxed{}` (or after `####`) as a number if possible, else as text.

Only an answer marked in this way counts. The verifier `math` accepts the same value in another notation.
"""

from typing import Annotated

from msgspec import Meta

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_ANSWER_CHARS, Strategies, extract
from judge_service.verifiers.number import equal, number
from judge_service.verifiers.plain import plain, unwrapped

REFERENCE: Strategies = ("boxed", "hashes", "whole")


class Options(AnswerOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `boxed`."""

    strategies: Annotated[
        Strategies,
        Meta(
            description="Where an answer is looked for; the first strategy that finds one decides."
        ),
    ] = ("boxed", "hashes")


def normal(text: str) -> str:
    """The form in which texts are compared that are no plain numbers."""
    return plain(unwrapped(text), case=True, punctuation=True).replace(" ", "").rstrip(".")


def _compare(answer: str, gold: str) -> Outcome:
    said = normal(answer)
    if not said:
        return "malformed"
    if said == normal(gold):
        return "right"
    value, asked = number(answer), number(gold)
    if value is not None and asked is not None and is_bare(answer) and is_bare(gold):
        return "right" if equal(value, asked) else "wrong"
    return "wrong"


def is_bare(text: str) -> bool:
    r"""Whether the number stands without letters: `2x` and `2` differ, `2\%` and `2` may be equal."""
    words = unwrapped(text).replace("\\frac", "").replace("\\dfrac", "").replace("\\tfrac", "")
    return not any(letter.isalpha() for letter in words)


def _gold(reference: str | None) -> str | None:
    found = extract(reference, REFERENCE) if reference else None
    return found.text if found and len(found.text) <= MAX_ANSWER_CHARS else None


def make(options: Options) -> Pure:
    """Makes the verifier."""

    def check(sample: Sample) -> Check:
        return grade(sample, options, _gold(sample.reference), _compare)

    return Pure(check)
