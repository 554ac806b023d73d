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


WIDE_BYTES_PER_CHAR = 1.5
"""Above it a text is wide. Chinese, Japanese and Korean take 3 bytes a character in UTF-8, Arabic,
Greek and Russian 2, Western European languages 1.0 to 1.1; a judge's instructions in English around
a text, which count too, dilute it."""


def is_wide(text: str) -> bool:
    """Whether most of a text is in a script that takes more tokens a character than Latin does."""
    if text.isascii():  # known without looking at it
        return False
    return len(text.encode("utf-8", "surrogatepass")) > WIDE_BYTES_PER_CHAR * len(text)


class LearnedRatio:
    """Characters per token as exponentially weighted means, one for Latin and one for wide texts.

    The means are of tokens per character, the direction in which they are used: the mean of the
    inverse would be too low for mixed texts.

    chars_per_token, wide_chars_per_token: where they start. 3.0 is on the safe side of English prose
        (about 4), 1.0 of Chinese and Japanese.
    """

    def __init__(self, *, chars_per_token: float = 3.0, wide_chars_per_token: float = 1.0) -> None:
        self._tokens_per_char = [1 / chars_per_token, 1 / wide_chars_per_token]

    def __repr__(self) -> str:
        latin, wide = (1 / each for each in self._tokens_per_char)
        return f"LearnedRatio(chars_per_token={latin:.2f}, wide_chars_per_token={wide:.2f})"

    @property
    def chars_per_token(self) -> float:
        """The mean of Latin texts now."""
        return 1 / self._tokens_per_char[False]

    @property
    def wide_chars_per_token(self) -> float:
        """The mean of wide texts now."""
        return 1 / self._tokens_per_char[True]

    def estimate(self, chars: int, *, wide: bool = False) -> int:
        """Tokens that a text of so many characters will cost, 5 % high, at least 1."""
        return max(1, ceil(chars * self._tokens_per_char[wide] * MARGIN))

    def learn(self, chars: int, tokens: int, *, wide: bool = False) -> None:
        """Takes in what a text of so many characters did cost. Reports of nothing are ignored."""
        if chars <= 0 or tokens <= 0:
            return
        seen = min(max(tokens / chars, MIN_TOKENS_PER_CHAR), MAX_TOKENS_PER_CHAR)
        self._tokens_per_char[wide] += WEIGHT * (seen - self._tokens_per_char[wide])
