"""`choice`: checks which of several choices the response names, by its letter or its text."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from judge_service.values import NO_METADATA, Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_LOOK_CHARS, Strategies
from judge_service.verifiers.plain import plain, unwrapped

MAX_CHOICES = 26

LEAD = re.compile(
    r"\W*(?:(?:the|correct|right|best|final) )*(?:option|choice|answer)(?: is)?\s*:?\s*",
    re.IGNORECASE,
)
MARKED = re.compile(r"\W*([A-Za-z])\s*(?:[).:\]]|-\s|$)(.*)", re.DOTALL)
LISTED = re.compile(
    r"(?:[,/;&(\n]|\bor\b|\band\b)\s*([A-Z])(?![\w'\u2019])|(?<![\w'\u2019])([A-Z])[).:\]]\s*\S"
)
ALONE = re.compile(r"(?<![\w'\u2019])([A-Z])(?![\w'\u2019])(?! [a-z])")
"""A capital letter that stands alone and is not a word, as in `A cat`."""


class Options(AnswerOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `choice`."""

    strategies: Annotated[
        Strategies,
        Meta(
            description="Where an answer is looked for; the first strategy that finds one decides."
        ),
    ] = ("boxed", "answer_tag", "solution", "phrase", "whole")
    letters: Annotated[
        str, Meta(pattern="^[A-Z]{2,26}$", description="The letters of the choices.")
    ] = "ABCDE"
    choices_field: Annotated[
        str,
        Meta(
            max_length=100,
            description="Field of the row with the choices' texts: a list, or a table by letter.",
        ),
    ] = "choices"


class Question(Struct, frozen=True):
    """The right letter, and the texts of the choices in comparable form, by letter."""

    right: str
    texts: Mapping[str, str] = NO_METADATA


def choices(field: Any, letters: str) -> dict[str, str]:
    """The texts by letter, from a list, a table, or `{"label": [...], "text": [...]}`; else none."""
    if isinstance(field, dict) and isinstance(field.get("text"), list):
        labels = field.get("label")
        names = labels if isinstance(labels, list) else list(letters)
        field = dict(zip(map(str, names), field["text"], strict=False))
    if isinstance(field, list):
        field = dict(zip(letters, field, strict=False))
    if not isinstance(field, dict):
        return {}
    return {
        letter: plain(text)
        for letter, text in list(field.items())[:MAX_CHOICES]
        if isinstance(text, str) and letter in letters
    }


def stated(answer: str, letters: str, texts: Mapping[str, str]) -> str | None:
    """The letter that an answer names; `None` for none, several, or a letter with another choice's text."""
    answer = unwrapped(answer).strip()
    if lead := LEAD.match(answer):
        answer = answer[lead.end() :]
    said = plain(answer)
    if named := [letter for letter, text in texts.items() if text == said]:
        return named[0] if len(named) == 1 else None
    marked = MARKED.fullmatch(answer)
    if marked is None:
        return _in_last_line(answer, letters)
    letter, rest = marked[1].upper(), marked[2]
    return letter if letter in letters and _goes_with(rest, letter, letters, texts) else None


def _goes_with(rest: str, letter: str, letters: str, texts: Mapping[str, str]) -> bool:
    """Whether the text after a letter names no other choice."""
    said = plain(rest)
    if said in texts.values():
        return texts.get(letter) == said
    others = {one or other for one, other in LISTED.findall(rest)} - {letter}
    return others.isdisjoint(letters)


def _in_last_line(text: str, letters: str) -> str | None:
    """The only letter that stands alone in the last line of running text."""
    named = set(ALONE.findall(text.rpartition("\n")[2])) & set(letters)
    return named.pop() if len(named) == 1 else None


def _question(sample: Sample, options: Options) -> Question | None:
    if not sample.reference:
        return None
    texts = choices(sample.metadata.get(options.choices_field), options.letters)
    right = stated(sample.reference, options.letters, texts)
    return Question(right, texts) if right else None


def make(options: Options) -> Pure:
    """Makes the verifier."""

    def compare(answer: str, question: Question) -> Outcome:
        letter = stated(answer, options.letters, question.texts)
        if letter is None:
            return "malformed"
        return "right" if letter == question.right else "wrong"

    def check(sample: Sample) -> Check:
        return grade(sample, options, _question(sample, options), compare, MAX_LOOK_CHARS)

    return Pure(check)
