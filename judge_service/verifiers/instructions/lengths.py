"""Instructions about length: words, sentences, paragraphs."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from judge_service.verifiers.instructions.relation import (
    Count,
    Phrase,
    Relation,
    holds,
    parted,
)
from judge_service.verifiers.marks import COMBINING

WORD = re.compile(rf"[\w{COMBINING}]+")
SENTENCE_END = re.compile(
    r"(?<![.!?\u2026])([.!?\u2026]{1,20})([\"'\u201d\u2019)\]*_]{0,4})(?=\s|$)"
)
BEFORE = re.compile(r"[^\s(\[\"'*\u201c]{1,20}$")
ABBREVIATIONS = frozenset((
    "mr", "mrs", "ms", "dr", "prof", "st", "sr", "jr", "rev", "gen", "col", "sgt", "lt", "capt",
    "vs", "etc", "e.g", "i.e", "cf", "vol", "fig", "inc", "ltd", "co", "corp", "jan", "feb",
    "mar", "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "a.m", "p.m", "u.s",
    "u.k", "ph.d", "approx", "dept", "est",
))  # fmt: skip
CJK_END = re.compile(r"[\u3002\uff01\uff1f]+")


class NumberWords(Struct, frozen=True):
    """`length_constraints:number_words`: the number of words."""

    num_words: Count
    relation: Relation

    def followed(self, text: str) -> bool:
        return holds(sum(1 for _ in WORD.finditer(text)), self.relation, self.num_words)


class NumberSentences(Struct, frozen=True):
    """`length_constraints:number_sentences`: the number of sentences."""

    num_sentences: Count
    relation: Relation

    def followed(self, text: str) -> bool:
        return holds(sentences(text), self.relation, self.num_sentences)


class NumberParagraphs(Struct, frozen=True):
    """`length_constraints:number_paragraphs`: the number of paragraphs between three asterisks."""

    num_paragraphs: Count

    def followed(self, text: str) -> bool:
        paragraphs = parted(text, "***")
        return paragraphs is not None and len(paragraphs) == self.num_paragraphs


class NthParagraphFirstWord(Struct, frozen=True):
    """`length_constraints:nth_paragraph_first_word`: empty lines separate paragraphs."""

    first_word: Phrase
    num_paragraphs: Count
    nth_paragraph: Annotated[int, Meta(ge=1, le=1_000_000)]

    def followed(self, text: str) -> bool:
        paragraphs = text.split("\n\n")
        if sum(1 for paragraph in paragraphs if paragraph.strip()) != self.num_paragraphs:
            return False
        words = "".join(paragraphs[self.nth_paragraph - 1 : self.nth_paragraph]).split(maxsplit=1)
        return bool(words) and _bare(words[0]) == self.first_word.casefold()


def _bare(word: str) -> str:
    """The word without leading quotes, up to its first punctuation mark."""
    return re.split(r"[.,?!'\"]", word.lstrip("'\""), maxsplit=1)[0].casefold()


def sentences(text: str) -> int:
    """The number of sentences: runs of text that end with a full stop, a question or an exclamation mark."""
    count, end = 0, 0
    for mark in SENTENCE_END.finditer(text):
        if _ends_sentence(mark, text):
            count, end = count + 1, mark.end()
    count += len(CJK_END.findall(text))
    rest = CJK_END.split(text[end:])[-1]
    return count + bool(rest.strip())


def _ends_sentence(mark: re.Match[str], text: str) -> bool:
    stops, closing = mark.groups()
    goes_on = text[mark.end() : mark.end() + 40].lstrip()[:1].islower()
    if goes_on and (closing.strip("*_") or len(stops) > 1):  # "Who?" he asked. Well... perhaps
        return False
    before = BEFORE.search(text, max(0, mark.start() - 20), mark.start())
    if stops != "." or before is None:
        return True
    word = before[0].casefold()
    if word in ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    starts_line = text[max(0, before.start() - 1) : before.start()] in ("", "\n")
    return not (word.isdigit() and starts_line)  # the number of a list item
