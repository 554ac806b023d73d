"""`sentiment`: checks a label out of a fixed set, such as polarity, toxicity or topic.

The label is searched in a box, then in the other marks, and last as a word of the text, where it counts only
if it is the only label.
"""

import re
from collections.abc import Mapping
from typing import Annotated

import msgspec
from msgspec import Meta

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import Check, Pure
from judge_service.verifiers.answers import AnswerOptions, Outcome, grade
from judge_service.verifiers.extract import MAX_LOOK_CHARS, extract
from judge_service.verifiers.plain import plain, unwrapped

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
        self._labels: Mapping[str, str] = {
            **{plain(label): label for label in options.labels},
            **{plain(word): label for word, label in options.synonyms.items()},
        }
        words = sorted(self._labels, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(_whole_word, words)))

    def named(self, text: str) -> str | None:
        """The label that equals a text, or the only label in it."""
        said = plain(unwrapped(text))
        if said in self._labels:
            return self._labels[said]
        found = {self._labels[word] for word in self._pattern.findall(said)}
        return found.pop() if len(found) == 1 else None


def _whole_word(word: str) -> str:
    """The pattern of a whole word; scripts without spaces have no word boundaries."""
    return rf"\b{re.escape(word)}\b" if word.isascii() else re.escape(word)


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
