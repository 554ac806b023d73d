"""`sentiment`: checks a label out of a fixed set, such as polarity, toxicity or topic.

The label is searched in a box, then in the other marks, and last as a word of the text, where it counts only
if it is the only label. A negated label (`not positive`, `isn't very toxic`) is not named.
"""

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_LOOK_CHARS, extract
from judge_service.verifiers.marks import COMBINING
from judge_service.verifiers.plain import plain, unwrapped
from judge_service.verifiers.words import UNSPACED

CLAUSE_END = re.compile(
    r"[.,;:!?](?=\s)|\n|\b(?:but|rather|instead|sondern|mais|sino|mas)\b", re.IGNORECASE
)
NEGATED = re.compile(
    r"(?<!\w)(?:not|non|never|no|neither|nor|hardly|without|cannot|(?:\w{2,6}n t)|nicht|keine?|nie|pas|jamais"
    r"|n\u00e3o|niet|inte|ikke|\u043d\u0435|\u043d\u0438)(?:\s\w+){0,4}\s?$|(?:\u4e0d|\u975e|\u6ca1|\u6c92|\u672a)\w{0,3}$"
)
MAX_NEGATION_CHARS = 60
"""A negation counts for the label at most four words later, in its clause."""

UNSPACED_LETTER = re.compile(f"[{UNSPACED}]")

Label = Annotated[str, Meta(min_length=1, max_length=100)]


class Options(AnswerOptions, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `sentiment`."""

    labels: Annotated[
        tuple[Label, ...], Meta(min_length=2, max_length=100, description="The labels.")
    ] = ("positive", "negative", "neutral")
    synonyms: Annotated[
        dict[Label, Label],
        Meta(max_length=1000, description="Other words for a label, such as another language's."),
    ] = msgspec.field(default_factory=dict)


class Labels:
    """Finds the labels that a text names."""

    def __init__(self, options: Options) -> None:
        said = {**{label: label for label in options.labels}, **options.synonyms}
        self._labels = {plain(word): label for word, label in said.items()}
        self._in_text = {_clauses(word): label for word, label in said.items()}
        words = sorted(self._in_text, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_whole_word, words)))

    def named(self, text: str) -> str | None:
        """The label that equals a text, or the only label in it that is not negated."""
        text = unwrapped(text)
        if (said := plain(text)) in self._labels:
            return self._labels[said]
        found, end, text = set(), 0, _clauses(text)
        for word in self._pattern.finditer(text):
            if not NEGATED.search(text, max(end, word.start() - MAX_NEGATION_CHARS), word.start()):
                found.add(self._in_text[word[0]])
            end = word.end()
        return found.pop() if len(found) == 1 else None


def _clauses(text: str) -> str:
    """The plain text with a bar where a clause ends, which ends a negation too."""
    return plain(CLAUSE_END.sub(" | ", text.strip().rstrip(".!?,;:")))


def _whole_word(word: str) -> str:
    """The pattern of a whole word; scripts without spaces have no word boundaries."""
    if UNSPACED_LETTER.search(word):
        return re.escape(word)
    return rf"(?<![\w{COMBINING}]){re.escape(word)}(?![\w{COMBINING}#+*-])"


def make(options: Options) -> Pure:
    """Makes the verifier. Raises RubricError for a synonym of an unknown label."""
    if strange := set(options.synonyms.values()) - set(options.labels):
        raise RubricError(f"`synonyms` names {sorted(strange)}, which are not among the `labels`")
    labels = Labels(options)

    def compare(answer: str, gold: str) -> Outcome:
        label = labels.named(answer)
        if label is None:
            return "malformed"
        return "right" if label == gold else "wrong"

    def check(sample: Sample) -> Check:
        found = extract(sample.reference, options.strategies) if sample.reference else None
        gold = labels.named(found.text) if found else None
        return grade(sample, options, gold, compare, MAX_LOOK_CHARS)

    return Pure(check)
