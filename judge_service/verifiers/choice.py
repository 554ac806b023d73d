"""`choice`: checks which of several choices the response names, by its letter or its text.

A capital letter is a letter first, also if another choice has it as its text (blood groups, vitamins). A
letter in a formula (`E = mc^2`, `25 \u00b0C`) names no choice, and a box with a formula is passed over.
"""

import re
import unicodedata
from collections.abc import Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from judge_service.values import NO_METADATA, Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_LOOK_CHARS, Strategies, boxed
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
REJECTED = re.compile(
    r"\b(?:not|nor|never|than|instead of)\s(?:option |choice )?\W{0,3}[A-Z](?![\w'\u2019])"
    r"|(?<!\w)\W?[A-Z]\W{0,3}\s(?:is|are|was|would be)(?:n't| not| in| wrong| false)[a-z]*"
    r"(?: correct| right)?"
)
"""A letter that the answer rules out."""

CJK = "\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3"
IN_WORD = rf"[^\W{CJK}]"
"""A letter next to which another one does not stand alone; CJK writes no spaces."""

ALONE = re.compile(
    rf"(?<!{IN_WORD})(?<!['\u2019\u00b0\\^{{}}=+*/<>|])(?<![=+*/<>-] )([A-Z])"
    rf"(?!{IN_WORD})(?!['\u2019\\^{{}}=+*/<>|(])(?! ?[=+*/<>^])"
    rf"(?! (?!(?:or|and) [A-Z](?!{IN_WORD}))[a-z])"
)
"""A capital letter that stands alone: neither a word, as in `A cat`, nor a variable. It may have a second one
after `or` or `and`: `A or B` is two letters, and so names none."""

DECLARED = re.compile(
    rf"(?<!{IN_WORD})([A-Z])\W{{0,3}} (?:is|seems|must be|would be|has to be) (?:the )?(?:most |only |best )?"
    r"(?:likely )?(?:correct|right|true|best|answer|choice|option|one)\b"
)
"""A letter that a sentence declares to be the answer: `Therefore, B is correct.`"""

FORMULA = re.compile(r"\$[^$\n]{2,400}\$|\\\([^\n]{2,400}?\\\)|\\boxed\{[^{}\n]{2,400}\}")
COMMAND = re.compile(r"\\[a-zA-Z]{2}|[=^_<>+]")
"""Marks of a formula."""

STATEMENT = re.compile(r"^\W*(?:\w+ )?([A-Z])\W*(?:$|[).:])", re.MULTILINE)
"""A line that states a letter."""

PHRASE = "answer is"
MAX_TEXT_CHARS = 400
MIN_TEXT_CHARS = 8
"""A shorter text of a choice may begin another sentence by chance."""


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
    if not answer.isascii():
        answer = unicodedata.normalize("NFKC", answer)
    line = answer
    answer = unwrapped(answer).strip()
    if lead := LEAD.match(answer):
        answer = answer[lead.end() :]
    if len(answer) == 1 and answer in letters:
        return answer
    said = plain(answer)
    if named := [letter for letter, text in texts.items() if text == said]:
        return named[0] if len(named) == 1 else None
    marked = MARKED.fullmatch(answer) or _first_line(answer)
    if marked is None:
        return _in_last_line(line, letters)
    letter, rest = marked[1].upper(), marked[2]
    return letter if letter in letters and _goes_with(rest, letter, letters, texts) else None


def _first_line(answer: str) -> re.Match[str] | None:
    """The first line, if it states a letter and no later one does."""
    line, _, rest = answer.partition("\n")
    marked = MARKED.fullmatch(line) if rest else None
    return None if marked and STATEMENT.search(rest) else marked


def _goes_with(rest: str, letter: str, letters: str, texts: Mapping[str, str]) -> bool:
    """Whether the text after a letter names no other choice."""
    said = plain(rest)
    if said in texts.values():
        return texts.get(letter) == said
    others = {one or other for one, other in LISTED.findall(REJECTED.sub(" ", rest))} - {letter}
    return others.isdisjoint(letters)


def _in_last_line(text: str, letters: str) -> str | None:
    """The only letter that the last line declares, else the only one that stands alone in it."""
    line = unwrapped(FORMULA.sub(" ", text.strip().rpartition("\n")[2])).replace("**", "")
    line = REJECTED.sub(" ", line)
    for pattern in (DECLARED, ALONE):
        named = set(pattern.findall(line)) & set(letters)
        if named:
            return named.pop() if len(named) == 1 and not re.search(r"\\[a-zA-Z]", line) else None
    return None


def phrased(response: str, texts: Mapping[str, str]) -> str | None:
    """The choice with whose text the words after the last "answer is" begin; the longest such text."""
    place = response.lower().rfind(PHRASE)
    if place < 0 or not texts:
        return None
    said = plain(response[place + len(PHRASE) :][:MAX_TEXT_CHARS].lstrip(" :"))
    begun = [letter for letter, text in texts.items() if text and f"{said} ".startswith(f"{text} ")]
    longest = max((len(texts[letter]) for letter in begun), default=0)
    named = [letter for letter in begun if len(texts[letter]) == longest]
    return named[0] if len(named) == 1 and longest >= MIN_TEXT_CHARS else None


def question_of(sample: Sample, options: Options) -> Question | None:
    """The right letter and the texts of a row, `None` if its reference names no letter."""
    if not sample.reference:
        return None
    texts = choices(sample.metadata.get(options.choices_field), options.letters)
    right = stated(sample.reference, options.letters, texts)
    return Question(right, texts) if right else None


def searched_with(response: str | None, options: Options) -> Options:
    """The options without `boxed`, if the last box has a formula and not a choice."""
    if response is None or "boxed" not in response or "boxed" not in options.strategies:
        return options
    boxes = boxed(response[-MAX_LOOK_CHARS:])
    others = tuple(one for one in options.strategies if one != "boxed")
    formula = boxes and others and COMMAND.search(unwrapped(boxes[-1]))
    if formula and stated(boxes[-1], options.letters, {}) is None:
        return replace(options, strategies=others)
    return options


def make(options: Options) -> Pure:
    """Makes the verifier."""

    def check(sample: Sample) -> Check:
        def compare(answer: str, question: Question) -> Outcome:
            letter = stated(answer, options.letters, question.texts)
            letter = letter or phrased(sample.response or "", question.texts)
            if letter is None:
                return "malformed"
            return "right" if letter == question.right else "wrong"

        searched = searched_with(sample.response, options)
        return grade(sample, searched, question_of(sample, options), compare, MAX_LOOK_CHARS)

    return Pure(check)
