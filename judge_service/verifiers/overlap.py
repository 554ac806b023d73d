"""`overlap`: measures how much of the reference's text the response has, without regard to meaning.

`rouge_l`: F1 of the longest common subsequence of words. `token_f1`: F1 of the words, order-free.
`edit`: 1 - Levenshtein distance / longer length, characters. `chrf`: F2 of character 1- to 6-grams.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct
from rapidfuzz.distance import LCSseq, Levenshtein

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.extract import Strategies, extract
from judge_service.verifiers.plain import plain
from judge_service.verifiers.words import words

Measure = Literal["rouge_l", "token_f1", "edit", "chrf"]

MAX_CHARS = 20_000
"""Longest text. Longer responses score 0, and longer references cannot be compared: the longest common
subsequence costs the product of both lengths."""

CHRF_ORDER = 6
CHRF_BETA = 2


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `overlap`."""

    measure: Annotated[Measure, Meta(description="The measure of overlap.")] = "rouge_l"
    strategies: Annotated[
        Strategies, Meta(description="Which part of the response is looked at, as in `exact`.")
    ] = ("whole",)
    full_at: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="An overlap of at least this scores 1; less scores in proportion.",
        ),
    ] = 1.0


def rouge_l(response: str, reference: str) -> float:
    """ROUGE-L without stemming."""
    said, gold = words(response), words(reference)
    return _f(LCSseq.similarity(said, gold), len(said), len(gold))


def token_f1(response: str, reference: str) -> float:
    """F1 of words as in SQuAD, but articles count."""
    said, gold = Counter(words(response)), Counter(words(reference))
    return _f((said & gold).total(), said.total(), gold.total())


def edit(response: str, reference: str) -> float:
    """1 minus the relative Levenshtein distance of the normalised texts."""
    return Levenshtein.normalized_similarity(
        plain(response, punctuation=True), plain(reference, punctuation=True)
    )


def chrf(response: str, reference: str) -> float:
    """chrF2 over characters without white space, averaged over the orders that both texts have."""
    said, gold = "".join(response.split()), "".join(reference.split())
    orders = range(1, min(CHRF_ORDER, len(said), len(gold)) + 1)
    scores = [_chrf_order(said, gold, order) for order in orders]
    return sum(scores) / len(scores) if scores else 0.0


def _chrf_order(said: str, gold: str, order: int) -> float:
    mine, theirs = _grams(said, order), _grams(gold, order)
    return _f((mine & theirs).total(), mine.total(), theirs.total(), CHRF_BETA)


def _grams(text: str, order: int) -> Counter[str]:
    return Counter(text[start : start + order] for start in range(len(text) - order + 1))


def _f(common: int, said: int, gold: int, beta: int = 1) -> float:
    """F measure of precision common/said and recall common/gold."""
    weighted = beta * beta * gold + said
    return (1 + beta * beta) * common / weighted if weighted else 0.0


MEASURES: Mapping[Measure, Callable[[str, str], float]] = {
    "rouge_l": rouge_l,
    "token_f1": token_f1,
    "edit": edit,
    "chrf": chrf,
}


def make(options: Options) -> Pure:
    """Makes the verifier."""
    measure = MEASURES[options.measure]

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        if not sample.reference or not sample.reference.strip():
            return Check(score=None, reason="no_reference")
        if len(sample.reference) > MAX_CHARS:
            detail = f"the reference is longer than {MAX_CHARS} characters"
            return Check(score=None, reason="cannot_judge", detail=detail)
        found = extract(sample.response, options.strategies)
        if found is None or len(found.text) > MAX_CHARS:
            detail = f"there is no text to compare, or more than {MAX_CHARS} characters"
            return Check(score=0.0, detail=detail)
        shared = measure(found.text, sample.reference)
        detail = f"{options.measure} is {shared:.3f}"
        return Check(score=min(1.0, shared / options.full_at), detail=detail)

    return Pure(check)
