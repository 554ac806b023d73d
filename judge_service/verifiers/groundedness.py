"""`groundedness`: the share of a response's sentences whose words the source contains.

It measures overlap, not entailment. A sentence is covered if the source has enough of its content words and
all its numbers. If the sentence cites (`[1]`, `[2, 3]`), only the cited sources count, and a citation of a
missing source leaves it uncovered. Negations are not detected; use a judge for them.
"""

import re
from collections.abc import Sequence
from typing import Annotated, Any

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.words import sentences, words

MAX_CHARS = 100_000
"""Longest response; a longer one scores 0."""

MAX_SOURCE_CHARS = 2_000_000
MAX_SOURCES = 1_000

CITATION = re.compile(r"\[(\d{1,4}(?:\s?[,;]\s?\d{1,4}){0,20})\]")
CITED_AFTER = re.compile(r"([.!?])\s{0,3}((?:\[\d{1,4}(?:\s?[,;]\s?\d{1,4}){0,20}\]\s{0,3})+)")
"""Citations after the sentence to which they belong."""

EMPTY_WORDS = frozenset(
    "a an and are as at be been but by can could did do does for from had has have he her his how i if"  # noqa: SIM905  a list of 150 words
    " in into is it its may might more most no not of on or our she should so some such than that the"
    " their them then there these they this those to was we were what when where which who will with"
    " would you your also about over under between both each other only same very just"
    " der die das den dem des ein eine einer eines und oder ist sind war mit von zu im in auf f\u00fcr"
    " le la les un une des et ou est sont dans de du au aux pour par sur que qui"
    " el los las una y o es son en del con por para se".split()
)
"""Words without a claim; a sentence of such words only is covered by any source."""


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `groundedness`."""

    source_field: Annotated[
        str,
        Meta(
            max_length=100,
            description="Field of the row with the source: a text or a list of them, the first is [1].",
        ),
    ] = "context"
    min_coverage: Annotated[
        float,
        Meta(
            gt=0,
            le=1,
            description="Share of a sentence's content words that must be in the source.",
        ),
    ] = 0.7
    require_citations: Annotated[
        bool, Meta(description="A sentence without a citation is not covered.")
    ] = False


class Sources:
    """The words of each source, and of all sources."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._words = [frozenset(words(text)) for text in texts]
        self._all = frozenset[str]().union(*self._words)

    def cited(self, numbers: Sequence[int]) -> frozenset[str] | None:
        """The words of the cited sources, of all sources without citations; `None` if one is missing."""
        if not numbers:
            return self._all
        if any(not 1 <= number <= len(self._words) for number in numbers):
            return None
        return frozenset[str]().union(*(self._words[number - 1] for number in numbers))


def source_texts(sample: Sample, field: str) -> list[str]:
    """The sources of a row: its field, else the reference."""
    held = sample.metadata.get(field)
    if held is None:
        held = sample.reference
    items = held if isinstance(held, list) else [held]
    return [text for item in items[:MAX_SOURCES] if (text := _text(item))]


def _text(item: Any) -> str:
    if isinstance(item, dict):
        item = item.get("text") or item.get("content")
    return item if isinstance(item, str) else ""


def _covered(sentence: str, sources: Sources, options: Options) -> bool | None:
    """Whether a sentence is covered; `None` if it claims nothing."""
    cited = [int(one) for group in CITATION.findall(sentence) for one in re.findall(r"\d+", group)]
    content = [word for word in words(CITATION.sub(" ", sentence)) if word not in EMPTY_WORDS]
    if not content:
        return None
    known = sources.cited(cited)
    if known is None or (options.require_citations and not cited):
        return False
    if any(word[0].isdigit() and word not in known for word in content):
        return False
    return sum(word in known for word in content) >= options.min_coverage * len(content)


def make(options: Options) -> Pure:
    """Makes the verifier."""

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        texts = source_texts(sample, options.source_field)
        if not texts:
            detail = f"the row has no source in `{options.source_field}`"
            return Check(score=None, reason="no_reference", detail=detail)
        if sum(map(len, texts)) > MAX_SOURCE_CHARS:
            detail = f"the source is longer than {MAX_SOURCE_CHARS} characters"
            return Check(score=None, reason="cannot_judge", detail=detail)
        if len(sample.response) > MAX_CHARS:
            return Check(score=0.0, detail=f"the response is longer than {MAX_CHARS} characters")
        return _check(sample.response, Sources(texts), options)

    return Pure(check)


def _check(response: str, sources: Sources, options: Options) -> Check:
    cited_within = CITED_AFTER.sub(r" \2\1 ", response)
    found = [_covered(sentence, sources, options) for sentence in sentences(cited_within)]
    claims = [covered for covered in found if covered is not None]
    if not claims:
        return Check(score=0.0, detail="the response claims nothing")
    detail = f"{sum(claims)} of {len(claims)} sentences are covered by the source"
    return Check(score=sum(claims) / len(claims), detail=detail)
