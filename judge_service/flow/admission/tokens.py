"""Estimates how many tokens a text costs, learned from what the judge reports."""

from collections.abc import Sequence
from math import ceil

MARGIN = 1.05
"""Estimates are 5 % high: a refund is free, a throttled call is not."""

WEIGHT = 0.02
"""Weight of the newest call: an error of 30 % is below the margin after 90 calls, and below
1 % after 170."""

MIN_TOKENS_PER_CHAR, MAX_TOKENS_PER_CHAR = 0.02, 4.0
"""What one report can claim. A character has at most four bytes, and a tokenizer at most one token
a byte; without a bound one absurd report would block the gate for hundreds of calls."""


def count_wide(text: str) -> int:
    """Characters outside ASCII. Most of them take several times the tokens of an ASCII letter."""
    if text.isascii():  # known without looking at it
        return 0
    return len(text) - len(text.encode("ascii", "ignore"))


def count_chars(texts: Sequence[str]) -> tuple[int, int]:
    """Characters of all texts, and how many of these are wide."""
    chars = wide = 0
    for text in texts:
        chars += len(text)
        if not text.isascii():
            wide += count_wide(text)
    return chars, wide


class LearnedRatio:
    """Characters per token as exponentially weighted means, one for ASCII and one for wide characters.

    A text costs `narrow / chars_per_token + wide / wide_chars_per_token` tokens, so that English
    instructions around Chinese answers are counted as what they are. A report moves the estimate of
    its own text by `WEIGHT` of the error. The two means share the correction by the square of what each
    of them predicted: a text of one kind teaches one mean only, and the few English words of a Chinese
    pack leave the English mean where it is.

    Example, means at 3 and 1 characters a token: 800 ASCII and 8,000 wide characters are estimated as
    267 + 8,000 tokens. A report of 10,000 is 1,733 more; 2 % of it, 35 tokens, goes to the means: the
    wide one then predicts 8,034.6, the other still 266.7.

    The means are of tokens per character, the direction in which they are used: the mean of the
    inverse would be too low for mixed texts.

    chars_per_token, wide_chars_per_token: where they start. 3.0 is on the safe side of English prose
        (about 4), 1.0 of Chinese and Japanese.
    """

    def __init__(self, *, chars_per_token: float = 3.0, wide_chars_per_token: float = 1.0) -> None:
        self._narrow = 1 / chars_per_token
        self._wide = 1 / wide_chars_per_token

    def __repr__(self) -> str:
        return (
            f"LearnedRatio(chars_per_token={self.chars_per_token:.2f},"
            f" wide_chars_per_token={self.wide_chars_per_token:.2f})"
        )

    @property
    def chars_per_token(self) -> float:
        """The mean of ASCII characters now."""
        return 1 / self._narrow

    @property
    def wide_chars_per_token(self) -> float:
        """The mean of wide characters now."""
        return 1 / self._wide

    def estimate(self, chars: int, *, wide: int = 0) -> int:
        """Tokens that a text will cost, 5 % high, at least 1.

        chars: its length. wide: how many of them are outside ASCII.
        """
        tokens = (chars - wide) * self._narrow + wide * self._wide
        return max(1, ceil(tokens * MARGIN))

    def estimate_texts(self, texts: Sequence[str]) -> int:
        """Tokens that several texts will cost together."""
        chars, wide = count_chars(texts)
        return self.estimate(chars, wide=wide)

    def learn(self, chars: int, tokens: int, *, wide: int = 0) -> None:
        """Takes in what a text did cost. Reports of nothing are ignored."""
        if chars <= 0 or tokens <= 0:
            return
        seen = min(max(tokens, MIN_TOKENS_PER_CHAR * chars), MAX_TOKENS_PER_CHAR * chars)
        of_narrow, of_wide = (chars - wide) * self._narrow, wide * self._wide
        step = WEIGHT * (seen - of_narrow - of_wide) / (of_narrow**2 + of_wide**2)
        self._narrow *= 1 + step * of_narrow
        self._wide *= 1 + step * of_wide
