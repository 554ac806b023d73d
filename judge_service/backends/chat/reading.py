"""Reads a chat completion: fast if it has the known form, else leniently, whole or in events."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from judge_service.backends.chat.token_choices import NOTHING
from judge_service.backends.chat.wire import (
    ChatMessage,
    ChatReply,
    ChatUsage,
    Choice,
    Details,
    Function,
    ToolCall,
)
from judge_service.backends.leniency import count, table, texts_in, unwrap
from judge_service.http.failures import unreadable
from judge_service.http.json_body import (
    NOT_JSON,
    Doubled,
    clean,
    encode_any,
    read_leniently,
    undoubled,
)

_decoder = msgspec.json.Decoder(ChatReply)
_CONTENT, _FINISH, _ARGUMENTS = b'"content":', b'"finish_reason":', b'"arguments":'
"""Keys that a reply has once. Where they occur more often, the slow reader looks for an object with a key
twice, which msgspec does not see."""


def decode_reply(body: bytes) -> ChatReply:
    """Reads a reply of status 200 that is no stream. Raises Unavailable if it is not a completion."""
    try:
        decoded = _decoder.decode(body)
        if _has_keys_once(body, decoded) and not _is_empty(decoded.choices[0].message):
            return decoded
    except NOT_JSON:
        pass
    try:
        value = read_leniently(body)
    except ValueError as problem:
        raise unreadable(str(problem)) from None
    reply = unwrap(value, _has_choices)
    if reply is None:
        error = table(value).get("error")
        raise unreadable("it holds an error" if error else "it has no choices")
    return pick_reply(reply)


def _is_empty(message: ChatMessage) -> bool:
    """Whether a message has no content of the common form. The slow reader supports other forms."""
    return message.content is None and not message.tool_calls and not message.refusal


def _has_keys_once(body: bytes, reply: ChatReply) -> bool:
    if body.count(_FINISH) > 1 or len(reply.choices) != 1:
        return False
    if reply.choices[0].message.tool_calls and body.count(_ARGUMENTS) > 1:
        return False
    return body.count(_CONTENT) < 2 or reply.choices[0].logprobs is not NOTHING


def _has_choices(value: Mapping[str, Any]) -> bool:
    return "choices" in value


def pick_reply(reply: Mapping[str, Any]) -> ChatReply:
    """The reply in parsed JSON. Raises Unavailable if it has a key twice, with two values."""
    _refuse_doubled(reply)
    choices = reply.get("choices")
    if isinstance(choices, Mapping):
        choices = [choices]
    model = reply.get("model")
    return ChatReply(
        [_choice(one) for one in choices] if isinstance(choices, list) else [],
        pick_usage(reply.get("usage")),
        clean(model) if isinstance(model, str) else None,
        raw(reply.get("error")),
    )


def _choice(choice: Any) -> Choice:
    choice = table(choice)
    _refuse_doubled(choice)
    message = choice.get("message")
    if message is None:
        message = choice.get("delta")
    if message is None:
        message = choice.get("text")
    if not isinstance(message, Mapping):
        message = {"content": message}
    return Choice(
        pick_message(message),
        stop_word(choice.get("finish_reason")),
        raw(choice.get("logprobs")),
        raw(choice.get("error")),
    )


def pick_message(message: Mapping[str, Any]) -> ChatMessage:
    """The fields of a message that are read."""
    _refuse_doubled(message)
    content = message.get("content")
    texts = list(texts_in(content))
    return ChatMessage(
        "\n".join(texts) if texts else None,
        "refused" if _is_refusal(message.get("refusal")) or _refuses(content) else None,
        [ToolCall(_function(one)) for one in _called(message)] or None,
    )


def _called(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The functions that a message calls, in the present form, the older one, or without their wrapper."""
    calls = message.get("tool_calls") or message.get("function_call")
    if isinstance(calls, Mapping):
        calls = [calls]
    if not isinstance(calls, list):
        return []
    found = [table(call).get("function", call) for call in calls]
    return [one for one in found if isinstance(one, Mapping)]


def _function(function: Mapping[str, Any]) -> Function:
    """arguments: as text, whatever they came as; an object with a key twice becomes `null`."""
    name, given = function.get("name"), function.get("arguments")
    if isinstance(function, Doubled):
        given = None
    if not isinstance(given, str):
        given = encode_any(undoubled(given)).decode()
    return Function(name if isinstance(name, str) else None, given)


def _is_refusal(value: Any) -> bool:
    return value is True or (isinstance(value, (str, Mapping)) and bool(value))


def _refuses(content: Any) -> bool:
    return isinstance(content, list) and any(table(one).get("type") == "refusal" for one in content)


def pick_usage(usage: Any) -> ChatUsage | None:
    """The counts of tokens; what is no count is 0."""
    if not isinstance(usage, Mapping):
        return None
    details = table(usage.get("prompt_tokens_details"))
    return ChatUsage(
        count(usage.get("prompt_tokens")),
        count(usage.get("completion_tokens")),
        count(usage.get("total_tokens")),
        Details(count(details.get("cached_tokens"))),
    )


def stop_word(word: Any) -> str | None:
    """A finish reason as text; SGLang's own API sends an object."""
    if isinstance(word, Mapping):
        word = word.get("type")
    return word if isinstance(word, str) else None


def raw(value: Any) -> Raw:
    """Parsed JSON as it was."""
    return NOTHING if value is None else Raw(encode_any(undoubled(value)))


def _refuse_doubled(found: Mapping[str, Any]) -> None:
    """Raises Unavailable for an object that says two things."""
    if isinstance(found, Doubled):
        raise unreadable("it has a key twice")
