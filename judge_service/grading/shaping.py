"""Shaping: the whole reward is lowered for its form, along stated curves (docs/rubrics.md).

Each part is a factor from `1 - weight` to 1, so a reward is never raised and stays in [0, 1].
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from judge_service.grading.lazy_pattern import LazyPattern

LENGTH, REPETITION = "length_factor", "repetition_factor"
"""Names of the metrics."""

MAX_READ_CHARS = 50_000
"""Of a longer text the first and the last half of this is read: 50 ms of the event loop at the most."""

MIN_PHRASES = 10
"""In fewer phrases a repetition is chance."""

_WORD = LazyPattern(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
"""A word; in scripts that set no spaces between words, a character."""


class LengthShaping(Struct, frozen=True):
    """Free from `min_chars` to `max_chars`.

    The factor falls in a line to `1 - weight`: below to 0 characters, above to `2 * max_chars`.
    """

    min_chars: int = 0
    max_chars: int | None = None
    weight: float = 0.3

    def factor(self, chars: int) -> float:
        """What the reward of a response of so many characters is multiplied with."""
        if chars < self.min_chars:
            return 1.0 - self.weight * (self.min_chars - chars) / self.min_chars
        if self.max_chars is not None and chars > self.max_chars:
            return 1.0 - self.weight * min((chars - self.max_chars) / self.max_chars, 1.0)
        return 1.0


class RepetitionShaping(Struct, frozen=True):
    """Free while at most the share `allowed` of the phrases of `ngram` words was there before.

    From there the factor falls in a line to `1 - weight` where all but nothing is new.
    """

    ngram: int = 4
    allowed: float = 0.1
    weight: float = 0.5

    def factor(self, repeated: float) -> float:
        """What the reward is multiplied with, where the share `repeated` was there before."""
        over = max(repeated - self.allowed, 0.0) / (1.0 - self.allowed)
        return 1.0 - self.weight * over


class Shaping(Struct, frozen=True):
    """All of it; nothing by default."""

    length: LengthShaping | None = None
    repetition: RepetitionShaping | None = None

    def factors(self, response: str) -> Mapping[str, float]:
        """The factors of a response, by the name of their metric."""
        found: dict[str, float] = {}
        if self.length is not None:
            found[LENGTH] = self.length.factor(len(response))
        if self.repetition is not None:
            share = repeated_share(response, self.repetition.ngram)
            found[REPETITION] = self.repetition.factor(share)
        return found


def repeated_share(text: str, ngram: int) -> float:
    """Share of the phrases of `ngram` words that stood there before, in [0, 1). Linear in the text."""
    if len(text) > MAX_READ_CHARS:
        text = f"{text[: MAX_READ_CHARS // 2]} {text[-MAX_READ_CHARS // 2 :]}"
    words: Sequence[str] = _WORD.compiled.findall(text.casefold())
    count = len(words) - ngram + 1
    if count < MIN_PHRASES:
        return 0.0
    return 1.0 - len({tuple(words[at : at + ngram]) for at in range(count)}) / count
