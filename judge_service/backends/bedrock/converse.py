"""Amazon Bedrock's Converse as pure functions: makes a prompt's body and reads a reply's completion.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from judge_service.backends.answer import complete, read_verdict_object
from judge_service.backends.leniency import count, table, texts_in, unwrap
from judge_service.backends.request_form import Changes, messages_for
from judge_service.backends.vocabulary.refusals import NO_CACHE
from judge_service.backends.vocabulary.stops import meaning_of
from judge_service.http.failures import interrupted, unreadable
from judge_service.http.json_body import (
    NOT_JSON,
    Doubled,
    encode_any,
    read_leniently,
    undoubled,
)
from judge_service.values import Channel, Completion, Message, Prompt, Usage

TOOL = "verdict"
"""Name of the tool, and of the schema, with which a judge answers."""

NOTHING = Raw(b"null")

_CLAUDE = re.compile(r"claude-(?:([a-z]+)-)?(\d{1,2})(?:-(\d{1,2}))?(?!\d)")
"""Family, major and minor version, in both orders that Anthropic has used; a date is not a version."""

_UNFORCEABLE = frozenset({"fable", "mythos"})
"""Claude families that refuse a forced tool, by their documentation."""


def channels_of(model: str) -> tuple[Channel, ...]:
    """The channels in which a model can answer, best first; the last is always `text`.

    model: model id, inference profile or ARN. An id that does not name the model (application profile,
        imported model) counts as unknown: `tool`, then `text`. A wrong guess costs one refused call,
        because the grader then uses the next channel.

    Source: AWS's page on structured output and the model cards. Claude from 4.5, gpt-oss and Qwen3 accept a
    schema; Claude 3 to 4.1, Nova and most others accept tools only.
    """
    if re.search(r"gpt-oss|qwen3|qwen\.qwen3", model):
        return ("schema", "tool", "text")
    claude = _CLAUDE.search(model)
    if claude is None:
        return ("tool", "text")
    family, major, minor = claude.group(1), int(claude.group(2)), int(claude.group(3) or 0)
    if (major, minor) < (4, 5):
        return ("tool", "text")
    return ("schema", "text") if family in _UNFORCEABLE else ("schema", "tool", "text")


CHANGES = ("no temperature", "no system role", NO_CACHE)
"""What can be changed about a request (`request_form`)."""

CACHE_POINT: Mapping[str, Any] = {"cachePoint": {"type": "default"}}
"""Kept for five minutes after its last use."""


def body_of(
    prompt: Prompt, model: str, *, changes: Changes = frozenset(), cached_chars: int = 0
) -> dict[str, Any]:
    """The Converse body of a prompt. It always has `maxTokens`: without it Bedrock reserves the model's
    maximum against the quota.

    cached_chars: where in the last message a cache point is put; 0 puts none.
    """
    limits: dict[str, Any] = {"maxTokens": prompt.max_output_tokens}
    if prompt.temperature is not None and "no temperature" not in changes:
        limits["temperature"] = prompt.temperature
    messages = messages_for(prompt, changes) if changes else prompt.messages
    body: dict[str, Any] = {
        "messages": [
            {"role": message.role, "content": [{"text": message.content}]}
            for message in messages
            if message.role != "system"
        ],
        "inferenceConfig": limits,
    }
    if cached_chars and NO_CACHE not in changes:
        content = body["messages"][-1]["content"]
        [text] = [block["text"] for block in content]
        end = len(text) - len(prompt.messages[-1].content) + cached_chars
        content[:] = [{"text": text[:end]}, CACHE_POINT, {"text": text[end:]}]
    if system := [_text(message) for message in messages if message.role == "system"]:
        body["system"] = system
    if prompt.schema is not None and prompt.channel == "schema":
        body["outputConfig"] = _output_config(prompt.schema)
    elif prompt.schema is not None and prompt.channel == "tool":
        body["toolConfig"] = _tool_config(prompt.schema, model)
    return body


def _text(message: Message) -> dict[str, str]:
    return {"text": message.content}


def _output_config(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The structured output; Converse takes its schema as a string."""
    text = msgspec.json.encode(schema).decode()
    structure = {"jsonSchema": {"name": TOOL, "schema": text}}
    return {"textFormat": {"type": "json_schema", "structure": structure}}


def _tool_config(schema: Mapping[str, Any], model: str) -> dict[str, Any]:
    """One forced tool. Only Claude and Nova accept a tool by its name; for others `any` of one tool means the
    same. `strict` is not sent: models that support it use the schema channel.
    """
    by_name = "claude" in model or "nova" in model
    spec = {"name": TOOL, "description": "Gives the verdict.", "inputSchema": {"json": schema}}
    return {
        "tools": [{"toolSpec": spec}],
        "toolChoice": {"tool": {"name": TOOL}} if by_name else {"any": {}},
    }


Count = Annotated[int, Meta(ge=0)]


class _ToolUse(Struct, frozen=True):
    name: str
    input: Raw = NOTHING


class _Block(Struct, frozen=True, rename="camel"):
    """A content block; kinds without a verdict (reasoning) are read as empty blocks."""

    text: str | None = None
    tool_use: _ToolUse | None = None


class _Message(Struct, frozen=True):
    content: list[_Block]


class _Output(Struct, frozen=True):
    message: _Message


class _Usage(Struct, frozen=True, rename="camel"):
    input_tokens: Count = 0
    output_tokens: Count = 0
    cache_read_input_tokens: Count = 0
    cache_write_input_tokens: Count = 0


class ConverseReply(Struct, frozen=True, rename="camel"):
    """The fields of a Converse reply that are read. stop_reason: `""` if it has none."""

    output: _Output
    stop_reason: str = ""
    usage: _Usage = _Usage()


_decoder = msgspec.json.Decoder(ConverseReply)
_CONTENT, _STOP_REASON = b'"content":', b'"stopReason":'
_TEXT, _TOOL_USE, _INPUT = b'"text":', b'"toolUse":', b'"input":'
"""Keys that a reply has once, or once in a block. Where they occur more often, the slow reader looks for an
object with a key twice, which msgspec does not see."""


def decode_reply(body: bytes) -> ConverseReply:
    """Reads a reply of status 200. Raises Unavailable if it is not a completion."""
    try:
        decoded = _decoder.decode(body)
        if _has_keys_once(body, len(decoded.output.message.content)):
            return decoded
    except NOT_JSON:
        pass
    try:
        value = read_leniently(body)
    except ValueError as problem:
        raise unreadable(str(problem)) from None
    return convert_reply(value)


def _has_keys_once(body: bytes, blocks: int) -> bool:
    return (
        body.count(_CONTENT) < 2
        and body.count(_STOP_REASON) < 2
        and body.count(_TEXT) + body.count(_TOOL_USE) <= blocks
        and body.count(_INPUT) <= blocks
    )


def convert_reply(value: Any) -> ConverseReply:
    """Picks a reply out of parsed JSON, such as boto's. Raises Unavailable if it is not a completion."""
    reply = unwrap(value, _has_message)
    if reply is None:
        raise unreadable("it has no output.message")
    message = reply["output"]["message"]
    if any(isinstance(one, Doubled) for one in (reply, reply["output"], message)):
        raise unreadable("it has a key twice")
    usage = table(reply.get("usage"))
    stop_reason = reply.get("stopReason")
    return ConverseReply(
        output=_Output(_Message(list(_blocks(message.get("content"))))),
        stop_reason=stop_reason if isinstance(stop_reason, str) else "",
        usage=_Usage(*[count(usage.get(name)) for name in _USAGE]),
    )


_USAGE = ("inputTokens", "outputTokens", "cacheReadInputTokens", "cacheWriteInputTokens")


def _has_message(value: Mapping[str, Any]) -> bool:
    return isinstance(table(value.get("output")).get("message"), Mapping)


def _blocks(content: Any) -> Iterator[_Block]:
    """The blocks with something of an answer; the input of a tool may have come as an object or as text."""
    if isinstance(content, (str, Mapping)):
        content = [content]
    for block in content if isinstance(content, Sequence) else ():
        used = table(table(block).get("toolUse"))
        if isinstance(block, Doubled):
            raise unreadable("it has a key twice")
        if used:
            name = used.get("name")
            given = undoubled(used.get("input")) if not isinstance(used, Doubled) else None
            yield _Block(
                tool_use=_ToolUse(name if isinstance(name, str) else "", Raw(encode_any(given)))
            )
        else:
            for text in texts_in([block]):
                yield _Block(text=text)


def completion_of(reply: ConverseReply, prompt: Prompt, model: str) -> Completion:
    """The completion of a reply. Content blocks may be in any order.

    Raises Denied (`too_long`) if the judge has not seen the prompt, Unavailable if it was interrupted.
    """
    stop_reason = meaning_of(reply.stop_reason)
    if stop_reason == "failed":
        raise interrupted(reply.stop_reason)
    blocks = reply.output.message.content
    usage = reply.usage
    texts = [block.text for block in blocks if block.text is not None]
    return complete(
        prompt,
        # joined by a newline: "4" and "5" without it would read as 45
        text="\n".join(texts) if texts else None,
        verdicts=[
            read_verdict_object(bytes(block.tool_use.input))
            for block in blocks
            if block.tool_use is not None and block.tool_use.name == TOOL
        ],
        stop_reason=stop_reason,
        usage=Usage(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            usage.cache_write_input_tokens,
            calls=1,
        ),
        model=model,
    )
