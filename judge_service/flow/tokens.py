"""How many tokens a text will cost, learned from what the judge reports."""

from math import ceil

MARGIN = 1.05
"""Estimates are 5 % high: a refund is free, a throttled call is not."""

WEIGHT = 0.02
"""Weight of the newest call: an error of 30 % is below the margin after 90 calls, and below
1 % after 170."""

MIN_TOKENS_PER_CHAR, MAX_TOKENS_PER_CHAR = 0.02, 4.0
"""What one report can claim. A character has at most four bytes, and a tokenizer at most one token
a byte; without a bound one absurd report would block the limiter for hundreds of calls."""


class LearnedRatio:
    """Characters per token as an exponentially weighted mean.

    The mean is of tokens per character, the direction in which it is used: the mean of the inverse
    would be too low for mixed texts.

    chars_per_token: where it starts; 3.0 is on the safe side of English prose (about 4).
    """

    def __init__(self, *, chars_per_token: float = 3.0) -> None:
        self._tokens_per_char = 1 / chars_per_token

    def __repr__(self) -> str:
        return f"LearnedRatio(chars_per_token={self.chars_per_token:.2f})"

    @property
    def chars_per_token(self) -> float:
        """The mean now."""
        return 1 / self._tokens_per_char

    def estimate(self, chars: int) -> int:
        """Tokens that a text of so many characters will cost, 5 % high, at least 1."""
        return max(1, ceil(chars * self._tokens_per_char * MARGIN))

    def learn(self, chars: int, tokens: int) -> None:
        """Takes in what a text of so many characters did cost. Reports of nothing are ignored."""
        if chars <= 0 or tokens <= 0:
            return
        seen = min(max(tokens / chars, MIN_TOKENS_PER_CHAR), MAX_TOKENS_PER_CHAR)
        self._tokens_per_char += WEIGHT * (seen - self._tokens_per_char)
