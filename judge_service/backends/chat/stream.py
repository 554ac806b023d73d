"""Assembles a chat completion that arrived as an unrequested stream of events.

Some containers on SageMaker are configured to stream always. Streams are read leniently: they are rare.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw

from judge_service.backends.chat.reading import (
    decode_reply,
    pick_message,
    pick_usage,
    raw,
    stop_word,
)
from judge_service.backends.chat.token_choices import NOTHING
from judge_service.backends.chat.wire import (
    ChatMessage,
    ChatReply,
    Choice,
    Function,
    ToolCall,
    is_error,
    tokens_in,
)
from judge_service.backends.leniency import table
from judge_service.http.failures import unreadable
from judge_service.http.json_body import read_leniently

_STREAM = re.compile(rb"\A(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
"""How server-sent events begin: with a field, or with a comment that keeps the connection alive."""

_END = b"[DONE]"


def read_reply(body: bytes) -> ChatReply:
    """Reads a reply of status 200, whole or in events. Raises Unavailable if it is not a completion."""
    return _join_events(body) if is_stream(body) else decode_reply(body)


def is_stream(body: bytes) -> bool:
    """Whether a body is server-sent events."""
    return body[:1] != b"{" and _STREAM.match(body[:4096]) is not None


def events_of(body: bytes) -> list[bytes]:
    """The data of each event, except the end mark."""
    return [one for one in _data_of(body) if one != _END]


def _data_of(body: bytes) -> Iterator[bytes]:
    """The data of each event. Lines of data that belong to one event are joined, as the standard says; some
    servers leave out the empty line between events, so a line that is an object is an event.
    """
    pending: list[bytes] = []
    for line in [*body.removeprefix(b"\xef\xbb\xbf").splitlines(), b""]:
        field, _, value = line.partition(b":")
        value = value.strip()
        if field.strip() == b"data" and value:
            if not pending and (value == _END or value[:1] + value[-1:] == b"{}"):
                yield value
            else:
                pending.append(value)
        elif not line.strip() and pending:
            yield b"\n".join(pending)
            pending = []


class _Joined:
    """One choice, put together from its pieces."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.refusal = False
        self.calls: dict[Any, Function] = {}
        self.finish: str | None = None
        self.tokens: list[Any] = []

    def add(self, piece: Mapping[str, Any]) -> None:
        """Raises Unavailable if the piece holds an error."""
        if is_error(raw(piece.get("error"))):
            raise unreadable("its stream ends in an error")
        delta = piece.get("delta") or piece.get("message")
        message = pick_message(delta if isinstance(delta, Mapping) else {"content": delta})
        self.texts += [] if message.content is None else [message.content]
        self.refusal = self.refusal or bool(message.refusal)
        self._add_calls(table(delta).get("tool_calls"), message.tool_calls or ())
        self.finish = stop_word(piece.get("finish_reason")) or self.finish
        self.tokens += tokens_in(raw(piece.get("logprobs"))) or ()

    def _add_calls(self, sent: Any, calls: Sequence[ToolCall]) -> None:
        indices = [table(call).get("index") for call in sent] if isinstance(sent, list) else []
        for place, call in enumerate(calls):
            index = indices[place] if place < len(indices) else None
            key = index if isinstance(index, int) else 0
            known, piece = self.calls.get(key, Function()), call.function
            arguments = piece.arguments if piece.arguments != "null" else ""
            self.calls[key] = Function(
                known.name or piece.name, (known.arguments or "") + (arguments or "")
            )

    def choice(self) -> Choice:
        tokens = Raw(msgspec.json.encode({"content": self.tokens})) if self.tokens else NOTHING
        calls = [ToolCall(function) for function in self.calls.values()]
        text = "".join(self.texts) if self.texts else None
        message = ChatMessage(text, "refused" if self.refusal else None, calls or None)
        return Choice(message, self.finish, tokens)


def _join_events(body: bytes) -> ChatReply:
    """The reply that the events of a stream make. A stream that broke off was aborted.

    Raises Unavailable if an event is not a piece of a completion.
    """
    data = list(_data_of(body))
    chunks = [_chunk(one) for one in data if one != _END]
    joined: dict[int, _Joined] = {}
    for chunk in chunks:
        for piece in chunk.get("choices") or ():
            index = table(piece).get("index")
            key = index if isinstance(index, int) else 0
            joined.setdefault(key, _Joined()).add(table(piece))
    choices = [one.choice() for _, one in sorted(joined.items())]
    if _END not in data:
        choices = [
            one if one.finish_reason else msgspec.structs.replace(one, finish_reason="aborted")
            for one in choices
        ]
    usages = [pick_usage(chunk.get("usage")) for chunk in chunks]
    models = [chunk.get("model") for chunk in chunks]
    return ChatReply(
        choices,
        next((usage for usage in reversed(usages) if usage), None),
        next((model for model in models if isinstance(model, str) and model), None),
    )


def _chunk(data: bytes) -> Mapping[str, Any]:
    """Raises Unavailable if it is not a piece of a completion."""
    try:
        chunk = read_leniently(data)
    except ValueError as problem:
        raise unreadable(str(problem)) from None
    if not isinstance(chunk, Mapping) or not isinstance(chunk.get("choices") or [], list):
        raise unreadable("an event of its stream is no piece of a completion")
    if is_error(raw(chunk.get("error"))):
        raise unreadable("its stream ends in an error")
    return chunk
