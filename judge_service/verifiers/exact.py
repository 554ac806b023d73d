"""`exact`: checks that the response equals the reference after normalisation."""

from typing import Annotated

from msgspec import Meta

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.plain import plain, unwrapped


class Options(AnswerOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `exact`."""

    keep_case: Annotated[bool, Meta(description="Capital letters matter.")] = False
    keep_punctuation: Annotated[bool, Meta(description="Punctuation matters.")] = False


def normal(text: str, options: Options) -> str:
    """The form in which texts are compared."""
    return plain(unwrapped(text), case=options.keep_case, punctuation=options.keep_punctuation)


def make(options: Options) -> Pure:
    """Makes the verifier."""

    def compare(answer: str, gold: str) -> Outcome:
        said = normal(answer, options)
        if not said:
            return "malformed"
        return "right" if said == gold else "wrong"

    def check(sample: Sample) -> Check:
        gold = normal(sample.reference, options) if sample.reference else ""
        return grade(sample, options, gold or None, compare)

    return Pure(check)
