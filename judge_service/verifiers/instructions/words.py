"""Instructions about words, letters and punctuation."""

import re
from typing import Annotated

from msgspec import Meta, Struct

from judge_service.verifiers.instructions.relation import (
    Count,
    Phrase,
    Phrases,
    Relation,
    holds,
)
from judge_service.verifiers.marks import COMBINING

LETTER = rf"[\w{COMBINING}]"
"""A letter or its combining mark: `\\b` would cut words of Indic scripts."""

WORD = re.compile(rf"{LETTER}+(?:['\u2019./&-]{LETTER}+)*")

POSSESSIVE = re.compile(r"['\u2019]s$")


class Existence(Struct, frozen=True):
    """`keywords:existence`: all keywords occur, possibly within longer words."""

    keywords: Phrases

    def followed(self, text: str) -> bool:
        folded = text.casefold()
        return all(keyword.casefold() in folded for keyword in self.keywords)


class Frequency(Struct, frozen=True):
    """`keywords:frequency`: the keyword occurs that often, possibly within longer words."""

    keyword: Phrase
    frequency: Count
    relation: Relation

    def followed(self, text: str) -> bool:
        count = text.casefold().count(self.keyword.casefold().strip())
        return holds(count, self.relation, self.frequency)


class ForbiddenWords(Struct, frozen=True):
    """`keywords:forbidden_words`: none of the words occurs as a whole word."""

    forbidden_words: Phrases

    def followed(self, text: str) -> bool:
        words = "|".join(re.escape(word) for word in self.forbidden_words)
        return re.search(rf"(?<!{LETTER})(?:{words})(?!{LETTER})", text, re.IGNORECASE) is None


class LetterFrequency(Struct, frozen=True):
    """`keywords:letter_frequency`: the letter occurs that often, in either case."""

    letter: Annotated[str, Meta(min_length=1, max_length=1)]
    let_frequency: Count
    let_relation: Relation

    def followed(self, text: str) -> bool:
        count = text.lower().count(self.letter.lower())
        return holds(count, self.let_relation, self.let_frequency)


class CapitalWordFrequency(Struct, frozen=True):
    """`change_case:capital_word_frequency`: that many words are all in capitals."""

    capital_frequency: Count
    capital_relation: Relation

    def followed(self, text: str) -> bool:
        words = (POSSESSIVE.sub("", word) for word in WORD.findall(text))
        count = sum(word.isupper() for word in words)
        return holds(count, self.capital_relation, self.capital_frequency)


class NoComma(Struct, frozen=True):
    """`punctuation:no_comma`: the response has no comma."""

    def followed(self, text: str) -> bool:
        return "," not in text
