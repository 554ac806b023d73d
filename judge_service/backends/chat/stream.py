"""Assembles a chat completion that arrived as an unrequested stream of events.

Some containers on SageMaker are configured to stream always.
"""

import msgspec
from msgspec import Raw, Struct

from judge_service.backends.chat.token_choices import NOTHING
from judge_service.backends.chat.wire import (
    ChatMessage,
    ChatReply,
    ChatUsage,
    Choice,
    Function,
    ToolCall,
    decode_reply,
    tokens_in,
)
from judge_service.http.failures import unreadable
from judge_service.http.json_body import decode_body


class _Piece(Struct, frozen=True):
    delta: ChatMessage = ChatMessage()
    finish_reason: str | None = None
    logprobs: Raw = NOTHING


class _Chunk(Struct, frozen=True):
    choices: list[_Piece] = []
    usage: ChatUsage | None = None
    model: str | None = None
    error: Raw = NOTHING


_decoder = msgspec.json.Decoder(_Chunk)


def read_reply(body: bytes) -> ChatReply:
    """Reads a reply of status 200, whole or in events. Raises Unavailable if it is not a completion."""
    return _join_events(body) if is_stream(body) else decode_reply(body)


def is_stream(body: bytes) -> bool:
    """Whether a body is server-sent events."""
    return body[:64].lstrip().startswith(b"data:")


def events_of(body: bytes) -> list[bytes]:
    """The data of each event, except the end mark."""
    lines = (line[5:].strip() for line in body.splitlines() if line.startswith(b"data:"))
    return [line for line in lines if line not in (b"", b"[DONE]")]


def _join_events(body: bytes) -> ChatReply:
    """The reply that the events of a stream make. A stream that broke off has no finish reason.

    Raises Unavailable if an event is not a piece of a completion.
    """
    chunks = [decode_body(_decoder, event) for event in events_of(body)]
    if any(bytes(chunk.error) != b"null" for chunk in chunks):
        raise unreadable("its stream ends in an error")
    pieces = [chunk.choices[0] for chunk in chunks if chunk.choices]
    message = _joined([piece.delta for piece in pieces])
    finish = next((piece.finish_reason for piece in reversed(pieces) if piece.finish_reason), None)
    usage = next((chunk.usage for chunk in reversed(chunks) if chunk.usage), None)
    model = next((chunk.model for chunk in chunks if chunk.model), None)
    choices = [Choice(message, finish, _logprobs(pieces))] if pieces else []
    return ChatReply(choices, usage, model)


def _joined(deltas: list[ChatMessage]) -> ChatMessage:
    texts = [delta.content for delta in deltas if delta.content is not None]
    refusals = [delta.refusal for delta in deltas if delta.refusal]
    calls: dict[int, Function] = {}
    for call in [call for delta in deltas for call in delta.tool_calls or ()]:
        known, piece = calls.get(call.index, Function()), call.function
        arguments = (known.arguments or "") + (piece.arguments or "")
        calls[call.index] = Function(known.name or piece.name, arguments)
    return ChatMessage(
        "".join(texts) if texts else None,
        "".join(refusals) or None,
        [ToolCall(function, index) for index, function in calls.items()] or None,
    )


def _logprobs(pieces: list[_Piece]) -> Raw:
    tokens = [token for piece in pieces for token in tokens_in(piece.logprobs) or ()]
    return Raw(msgspec.json.encode({"content": tokens})) if tokens else NOTHING
