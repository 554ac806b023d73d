"""Shaping: lowers the whole reward for the form of the response, its length or repetition (docs/rubrics.md).

Each part is a factor from `1 - weight` to 1, so it never raises a reward, which stays in [0, 1].
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from judge_service.grading.lazy_pattern import LazyPattern

LENGTH, REPETITION = "length_factor", "repetition_factor"
"""Names of the metrics."""

MAX_READ_CHARS = 50_000
"""Limit of the text that is read: of a longer text, the first and the last half of this. That takes at most
50 ms, in which the event loop does nothing else."""

MIN_PHRASES = 10
"""Fewest phrases in which a repetition is more than chance."""

_WORD = LazyPattern(
    r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+"
)
"""A word; in scripts without spaces between words, a character."""


class LengthShaping(Struct, frozen=True):
    """A factor below 1 for responses shorter than `min_chars` or longer than `max_chars`.

    It falls linearly from 1 to `1 - weight`: from `min_chars` down to 0 characters, and from `max_chars`
    up to `2 * max_chars`. For example, with `max_chars = 1000` and `weight = 0.3`, a response of 1,500
    characters has the factor 1 - 0.3 x 0.5 = 0.85.
    """

    min_chars: int = 0
    max_chars: int | None = None
    weight: float = 0.3

    def factor(self, chars: int) -> float:
        """The factor of a response with `chars` characters."""
        if chars < self.min_chars:
            return 1.0 - self.weight * (self.min_chars - chars) / self.min_chars
        if self.max_chars is not None and chars > self.max_chars:
            return 1.0 - self.weight * min((chars - self.max_chars) / self.max_chars, 1.0)
        return 1.0


class RepetitionShaping(Struct, frozen=True):
    """A factor below 1 for responses that repeat their own phrases of `ngram` words.

    Up to the share `allowed` of repeated phrases it is 1. From there it falls linearly to `1 - weight`
    at a share of 1. For example, with `allowed = 0.1` and `weight = 0.5`, a response of which 55 % of the
    phrases are repetitions has the factor 1 - 0.5 x (0.55 - 0.1) / 0.9 = 0.75.
    """

    ngram: int = 4
    allowed: float = 0.1
    weight: float = 0.5

    def factor(self, repeated: float) -> float:
        """The factor of a response of whose phrases the share `repeated` occurred before."""
        over = max(repeated - self.allowed, 0.0) / (1.0 - self.allowed)
        return 1.0 - self.weight * over


class Shaping(Struct, frozen=True):
    """The shaping of a rubric; none by default."""

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
    """Share of the phrases of `ngram` words that occurred earlier in the text, in [0, 1).

    The time is linear in the text. For example, "a b a b a b a b a b a b" with `ngram = 2` has 11
    phrases of which 2 are different, so the share is 1 - 2 / 11 = 0.82.
    """
    if len(text) > MAX_READ_CHARS:
        text = f"{text[: MAX_READ_CHARS // 2]} {text[-MAX_READ_CHARS // 2 :]}"
    words: Sequence[str] = _WORD.compiled.findall(text.casefold())
    count = len(words) - ngram + 1
    if count < MIN_PHRASES:
        return 0.0
    return 1.0 - len({tuple(words[at : at + ngram]) for at in range(count)}) / count
