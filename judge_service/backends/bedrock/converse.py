"""Amazon Bedrock's Converse as pure functions: makes a prompt's body and reads a reply's completion.

https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html
"""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from judge_service.http.failures import unreadable
from judge_service.http.json_body import decode_body
from judge_service.values import Channel, Completion, Message, Prompt, StopReason, Usage

TOOL = "verdict"
"""Name of the tool, and of the schema, with which a judge answers."""

_STOP_REASONS: Mapping[str, StopReason] = {
    "end_turn": "complete",
    "tool_use": "complete",
    "stop_sequence": "complete",
    "max_tokens": "max_tokens",
    "guardrail_intervened": "refused",
    "content_filtered": "refused",
    "refusal": "refused",
    "malformed_model_output": "malformed",
    "malformed_tool_use": "malformed",
    "model_context_window_exceeded": "context_full",
}

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


def body_of(prompt: Prompt, model: str) -> dict[str, Any]:
    """The Converse body of a prompt. It always has `maxTokens`: without it Bedrock reserves the model's
    maximum against the quota.
    """
    limits: dict[str, Any] = {"maxTokens": prompt.max_output_tokens}
    if prompt.temperature is not None:
        limits["temperature"] = prompt.temperature
    body: dict[str, Any] = {
        "messages": [
            {"role": message.role, "content": [{"text": message.content}]}
            for message in prompt.messages
            if message.role != "system"
        ],
        "inferenceConfig": limits,
    }
    if system := [_text(message) for message in prompt.messages if message.role == "system"]:
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
    input: Any


class _Block(Struct, frozen=True, rename="camel"):
    """A content block; kinds without a verdict (reasoning) are read as empty blocks."""

    text: str | None = None
    tool_use: _ToolUse | None = None


class _Message(Struct, frozen=True):
    content: list[_Block]


class _Output(Struct, frozen=True):
    message: _Message


class _Usage(Struct, frozen=True, rename="camel"):
    input_tokens: Count
    output_tokens: Count
    cache_read_input_tokens: Count = 0
    cache_write_input_tokens: Count = 0


class ConverseReply(Struct, frozen=True, rename="camel"):
    """The fields of a Converse reply that are read."""

    output: _Output
    stop_reason: str
    usage: _Usage


_decoder = msgspec.json.Decoder(ConverseReply)


def decode_reply(body: bytes) -> ConverseReply:
    """Reads a reply of status 200. Raises Unavailable if it is not a completion."""
    return decode_body(_decoder, body)


def convert_reply(reply: Mapping[str, Any]) -> ConverseReply:
    """Reads a reply that boto has parsed already."""
    try:
        return msgspec.convert(reply, ConverseReply)
    except msgspec.ValidationError as problem:
        raise unreadable(str(problem)) from None


def completion_of(reply: ConverseReply, model: str) -> Completion:
    """The completion of a reply. Content blocks may be in any order; the last verdict counts."""
    blocks = reply.output.message.content
    texts = [block.text for block in blocks if block.text is not None]
    inputs = [block.tool_use.input for block in blocks if block.tool_use and _is_verdict(block)]
    usage = reply.usage
    return Completion(
        # joined by a newline: "4" and "5" without it would read as 45
        text="\n".join(texts) if texts else None,
        data=inputs[-1] if inputs else None,
        stop_reason=_STOP_REASONS.get(reply.stop_reason, "malformed"),
        usage=Usage(
            usage.input_tokens,
            usage.output_tokens,
            usage.cache_read_input_tokens,
            usage.cache_write_input_tokens,
            calls=1,
        ),
        model=model,
    )


def _is_verdict(block: _Block) -> bool:
    used = block.tool_use
    return used is not None and used.name == TOOL and isinstance(used.input, Mapping)
