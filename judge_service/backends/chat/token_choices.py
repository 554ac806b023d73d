"""Reads the probability of each number in an answer from a chat reply's log probabilities."""

import re
from collections.abc import Mapping, Sequence
from math import exp
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from judge_service.http.json_body import NOT_JSON
from judge_service.values import TokenChoice

MAX_CHOICES = 64
"""Most tokens with digits that are kept, from the end of an answer: enough for 20 criteria."""

NOTHING = Raw(b"null")
_HALF = re.compile("\ufffd|^bytes:")
"""A token that is half a character: a replacement character in vLLM, its bytes as text in OpenAI."""

_bytes_decoder = msgspec.json.Decoder(list[Annotated[int, Meta(ge=0, le=255)]] | None)
_DIGIT = re.compile(rb"[0-9]")


class Alternative(Struct, frozen=True):
    """An alternative of a token; vLLM and OpenAI write -9999 for a probability of almost 0."""

    token: str
    logprob: float = -9999.0


_alternatives_decoder = msgspec.json.Decoder(list[Alternative] | None)


class Token(Struct, frozen=True):
    """A token of the answer. `Raw` fields are decoded only for the few tokens that need them: 20 alternatives
    of 150 tokens are most of such a reply.

    bytes: the token's bytes, if the server sends them; half a character has no text.
    """

    token: str
    logprob: float = -9999.0
    bytes: Raw = NOTHING
    top_logprobs: Raw = NOTHING


def choices_of(tokens: Sequence[Token], text: str) -> tuple[TokenChoice, ...]:
    """The tokens of `text` that hold a digit, in order, the last `MAX_CHOICES` of them.

    The tokens may begin before the text (reasoning that the server has removed) and continue after it (an
    end-of-turn mark). There are no choices if they do not spell the text, or if a digit follows the text:
    then the text's numbers are not the last ones.
    """
    pieces = [_spelled(token) for token in tokens]
    content, spelled = text.encode(), b"".join(pieces)
    begin = spelled.rfind(content)
    if begin < 0 or _DIGIT.search(spelled, begin + len(content)):
        return ()
    found: list[TokenChoice] = []
    start = -begin
    for token, piece in zip(tokens, pieces, strict=True):
        if 0 <= start < len(content) and _DIGIT.search(piece):
            before = len(content[:start].decode(errors="ignore"))
            found.append(TokenChoice(before, token.token, _probabilities(token)))
        start += len(piece)
    return tuple(found[-MAX_CHOICES:])


def _spelled(token: Token) -> bytes:
    if _HALF.search(token.token) is None:
        return token.token.encode()
    try:
        return bytes(_bytes_decoder.decode(token.bytes) or token.token.encode())
    except NOT_JSON:
        return b""


def _probabilities(token: Token) -> Mapping[str, float]:
    """The probabilities of alternatives with a digit, by text; tokens of equal text are added."""
    found: dict[str, float] = {}
    try:
        alternatives = _alternatives_decoder.decode(token.top_logprobs)
    except NOT_JSON:
        return {}
    for one in alternatives or ():
        if _DIGIT.search(one.token.encode()):
            found[one.token] = found.get(one.token, 0.0) + _probability(one.logprob)
    found.setdefault(token.token, _probability(token.logprob))
    return found


def _probability(logprob: float) -> float:
    return exp(min(logprob, 0.0))
