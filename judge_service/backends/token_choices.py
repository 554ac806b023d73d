"""From the log probabilities of a chat reply to how sure the judge was of each number it wrote."""

from collections.abc import Mapping, Sequence
from math import exp
from typing import Annotated

from msgspec import Meta, Struct

from judge_service.values import TokenChoice

MAX_CHOICES = 64
"""The last numbers of an answer that are kept: 20 criteria at most, and what their digits need."""

_DIGITS = b"0123456789"


class Alternative(Struct, frozen=True):
    """A token that could have stood there; vLLM and OpenAI write -9999 for "next to never"."""

    token: str
    logprob: float = -9999.0


class Token(Struct, frozen=True):
    """A token that was written. `bytes` where the server sends them: half a character has no text."""

    token: str
    logprob: float = -9999.0
    bytes: list[Annotated[int, Meta(ge=0, le=255)]] | None = None
    top_logprobs: list[Alternative] | None = None


def choices_of(tokens: Sequence[Token], text: str) -> tuple[TokenChoice, ...]:
    """The tokens of `text` that hold a digit, in order, the last `MAX_CHOICES` of them.

    The tokens may begin before the text (reasoning that the server has cut off) and go on after it
    (an end-of-turn mark). There are no choices if they do not spell the text, or if a digit comes
    after it: then the text's numbers are not the last ones.
    """
    pieces = [_spelled(token) for token in tokens]
    content, spelled = text.encode(), b"".join(pieces)
    begin = spelled.rfind(content)
    if begin < 0 or _has_digit(spelled[begin + len(content) :]):
        return ()
    found: list[TokenChoice] = []
    start = -begin
    for token, piece in zip(tokens, pieces, strict=True):
        if 0 <= start < len(content) and _has_digit(piece):
            before = len(content[:start].decode(errors="ignore"))
            found.append(TokenChoice(before, token.token, _probabilities(token)))
        start += len(piece)
    return tuple(found[-MAX_CHOICES:])


def _spelled(token: Token) -> bytes:
    return token.token.encode() if token.bytes is None else bytes(token.bytes)


def _has_digit(piece: bytes) -> bool:
    return any(digit in piece for digit in _DIGITS)


def _probabilities(token: Token) -> Mapping[str, float]:
    """By token text, of those with a digit; two tokens of one text are one alternative."""
    found: dict[str, float] = {}
    for one in token.top_logprobs or ():
        if _has_digit(one.token.encode()):
            found[one.token] = found.get(one.token, 0.0) + _probability(one.logprob)
    found.setdefault(token.token, _probability(token.logprob))
    return found


def _probability(logprob: float) -> float:
    return exp(min(logprob, 0.0))
