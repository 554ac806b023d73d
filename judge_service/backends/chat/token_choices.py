"""From the log probabilities of a chat reply to how sure the judge was of each number it wrote."""

import re
from collections.abc import Mapping, Sequence
from math import exp
from typing import Annotated

import msgspec
from msgspec import Meta, Raw, Struct

from judge_service.http.json_body import NOT_JSON
from judge_service.values import TokenChoice

MAX_CHOICES = 64
"""The last numbers of an answer that are kept: 20 criteria at most, and what their digits need."""

NOTHING = Raw(b"null")
_HALF = re.compile("\ufffd|^bytes:")
"""Half a character: a replacement character in vLLM, its bytes in words in OpenAI."""

_bytes_decoder = msgspec.json.Decoder(list[Annotated[int, Meta(ge=0, le=255)]] | None)
_DIGIT = re.compile(rb"[0-9]")


class Alternative(Struct, frozen=True):
    """A token that could have stood there; vLLM and OpenAI write -9999 for "next to never"."""

    token: str
    logprob: float = -9999.0


_alternatives_decoder = msgspec.json.Decoder(list[Alternative] | None)


class Token(Struct, frozen=True):
    """A token that was written. What is `Raw` is read for the few tokens where it matters: 20
    alternatives of 150 tokens are most of such a reply.

    bytes: what the token spells, where the server sends it; half a character has no text.
    """

    token: str
    logprob: float = -9999.0
    bytes: Raw = NOTHING
    top_logprobs: Raw = NOTHING


def choices_of(tokens: Sequence[Token], text: str) -> tuple[TokenChoice, ...]:
    """The tokens of `text` that hold a digit, in order, the last `MAX_CHOICES` of them.

    The tokens may begin before the text (reasoning that the server has cut off) and go on after it
    (an end-of-turn mark). There are no choices if they do not spell the text, or if a digit comes
    after it: then the text's numbers are not the last ones.
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
    """By token text, of those with a digit; two tokens of one text are one alternative."""
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
