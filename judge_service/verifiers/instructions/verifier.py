"""`instructions`: checks whether a response follows instructions of the 25 kinds of IFEval.

The row holds `instruction_id_list` and `kwargs` for each. The rules are those of the IFEval paper (arXiv
2311.07911), implemented anew. `strict` reads the response unchanged; `loose` ignores an introductory or
closing line and the asterisks of Markdown.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Protocol

import msgspec
from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.instructions import forms, languages, lengths, words
from judge_service.verifiers.language import identifier

MAX_CHARS = 200_000
"""Longest response; no instruction asks for more, so a longer one scores 0."""

MAX_INSTRUCTIONS = 64

PLACES = ("metadata", "extra_info")
"""Columns that may hold the instructions, if the row itself does not."""


class Instruction(Protocol):
    """One instruction with its parameters."""

    def followed(self, text: str) -> bool: ...


KINDS: Mapping[str, type[Instruction]] = {
    "change_case:capital_word_frequency": words.CapitalWordFrequency,
    "change_case:english_capital": languages.EnglishCapital,
    "change_case:english_lowercase": languages.EnglishLowercase,
    "combination:repeat_prompt": forms.RepeatPrompt,
    "combination:two_responses": forms.TwoResponses,
    "detectable_content:number_placeholders": forms.NumberPlaceholders,
    "detectable_content:postscript": forms.Postscript,
    "detectable_format:constrained_response": forms.ConstrainedResponse,
    "detectable_format:json_format": forms.JsonFormat,
    "detectable_format:multiple_sections": forms.MultipleSections,
    "detectable_format:number_bullet_lists": forms.NumberBulletLists,
    "detectable_format:number_highlighted_sections": forms.NumberHighlightedSections,
    "detectable_format:title": forms.Title,
    "keywords:existence": words.Existence,
    "keywords:forbidden_words": words.ForbiddenWords,
    "keywords:frequency": words.Frequency,
    "keywords:letter_frequency": words.LetterFrequency,
    "language:response_language": languages.ResponseLanguage,
    "length_constraints:nth_paragraph_first_word": lengths.NthParagraphFirstWord,
    "length_constraints:number_paragraphs": lengths.NumberParagraphs,
    "length_constraints:number_sentences": lengths.NumberSentences,
    "length_constraints:number_words": lengths.NumberWords,
    "punctuation:no_comma": words.NoComma,
    "startend:end_checker": forms.EndChecker,
    "startend:quotation": forms.Quotation,
}


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `instructions`."""

    loose: Annotated[
        bool,
        Meta(description="Forgive a first or last line too many, and the asterisks of Markdown."),
    ] = False
    partial: Annotated[
        bool, Meta(description="Score the share that is followed; else all or nothing.")
    ] = True


def make(options: Options) -> Pure:
    """Makes the verifier; loads the language model."""
    identifier(languages.USUAL)

    def check(sample: Sample) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        place = _place(sample.metadata)
        if place is None:
            detail = "the row has no `instruction_id_list`"
            return Check(score=None, reason="no_reference", detail=detail)
        try:
            asked = instructions(place)
        except (msgspec.ValidationError, ValueError):
            detail = "`instruction_id_list` and `kwargs` are not instructions of IFEval"
            return Check(score=None, reason="unreadable", detail=detail)
        return _score(sample.response, asked, options)

    return Pure(check)


def _score(response: str, asked: Sequence[Instruction], options: Options) -> Check:
    if not response.strip() or len(response) > MAX_CHARS:
        return Check(
            score=0.0, detail=f"the response is empty or longer than {MAX_CHARS} characters"
        )
    verdicts = followed(response, asked, loose=options.loose)
    share = sum(verdicts) / len(verdicts)
    score = share if options.partial else float(all(verdicts))
    return Check(
        score=score, detail=f"{sum(verdicts)} of {len(verdicts)} instructions are followed"
    )


def followed(response: str, asked: Sequence[Instruction], *, loose: bool) -> list[bool]:
    """For each instruction, whether the response follows it."""
    texts = list(_forgiven(response)) if loose else [response]
    return [any(one.followed(text) for text in texts if text.strip()) for one in asked]


def instructions(row: Mapping[str, Any]) -> list[Instruction]:
    """Reads the instructions of a row. Raises ValueError, msgspec.ValidationError."""
    ids, kwargs = row["instruction_id_list"], row.get("kwargs")
    if not isinstance(ids, list) or not 0 < len(ids) <= MAX_INSTRUCTIONS:
        raise ValueError(ids)
    given = kwargs if isinstance(kwargs, list) else [{}] * len(ids)
    return [_instruction(name, one) for name, one in zip(ids, given, strict=True)]


def _instruction(name: Any, kwargs: Any) -> Instruction:
    kind = KINDS.get(str(name).removeprefix("en:"))  # other languages have rules of their own
    if kind is None or not isinstance(kwargs, dict | None):
        raise ValueError(name)
    said = {key: value for key, value in (kwargs or {}).items() if value is not None}
    return msgspec.convert(said, kind, strict=False)


def _place(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    places = [metadata, *(metadata.get(name) for name in PLACES)]
    return next(
        (one for one in places if isinstance(one, Mapping) and one.get("instruction_id_list")), None
    )


def _forgiven(response: str) -> Iterator[str]:
    """The response without its first line, last line or both, each with and without asterisks."""
    lines = response.split("\n")
    for kept in (lines, lines[1:], lines[:-1], lines[1:-1]):
        text = "\n".join(kept).strip()
        yield text
        yield text.replace("*", "")
