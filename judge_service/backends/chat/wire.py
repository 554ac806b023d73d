"""OpenAI chat completions as pure functions: makes a prompt's body and reads a reply's completion.

https://platform.openai.com/docs/api-reference/chat/create, with the deviations of vLLM, SGLang, TGI, LMI and
SageMaker's Nova (docs/backends.md).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from judge_service.backends.chat.token_choices import NOTHING, Token, choices_of
from judge_service.http.failures import unreadable
from judge_service.http.json_body import NOT_JSON, decode_body, read_object
from judge_service.values import Channel, Completion, Prompt, StopReason, TokenChoice, Usage

TOOL = "verdict"
CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")

_STOP_REASONS: Mapping[str | None, StopReason] = {
    "stop": "complete",
    "tool_calls": "complete",
    "function_call": "complete",
    "eos_token": "complete",  # TGI's and LMI's own words
    "stop_sequence": "complete",
    "length": "max_tokens",
    "content_filter": "refused",
}


_REASONING = (("<reasoning>", "</reasoning>"), ("<think>", "</think>"))
"""Tags around reasoning that Bedrock (gpt-oss), and vLLM without a reasoning parser, leave in the answer."""


def body_of(
    prompt: Prompt,
    model: str | None,
    *,
    limit_field: str = "max_tokens",
    top_logprobs: int = 0,
) -> dict[str, Any]:
    """The chat completions body of a prompt.

    model: `None` for servers with one model, which need no name.
    top_logprobs: alternatives of each token to request, 0 requests no probabilities at all.
    """
    body: dict[str, Any] = {} if model is None else {"model": model}
    body["messages"] = [{"role": said.role, "content": said.content} for said in prompt.messages]
    body[limit_field] = prompt.max_output_tokens
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    if top_logprobs:
        body["logprobs"] = True
        body["top_logprobs"] = top_logprobs
    if prompt.schema is not None and prompt.channel == "schema":
        schema = {"name": TOOL, "schema": prompt.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif prompt.schema is not None and prompt.channel == "tool":
        function = {"name": TOOL, "description": "Gives the verdict.", "parameters": prompt.schema}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = {"type": "function", "function": {"name": TOOL}}
    return body


Count = Annotated[int, Meta(ge=0)]


class Function(Struct, frozen=True):
    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, frozen=True):
    function: Function = Function()
    index: int = 0


class ChatMessage(Struct, frozen=True):
    """A message, or a piece of one in a stream."""

    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Struct, frozen=True):
    """A choice. `logprobs` is decoded only if it was requested, because servers fill it differently."""

    message: ChatMessage
    finish_reason: str | None = None
    logprobs: Raw = NOTHING


class _Details(Struct, frozen=True):
    cached_tokens: Count | None = None


class ChatUsage(Struct, frozen=True):
    prompt_tokens: Count = 0
    completion_tokens: Count | None = 0
    prompt_tokens_details: _Details | None = None


class ChatReply(Struct, frozen=True):
    """The fields of a chat completion that are read."""

    choices: list[Choice]
    usage: ChatUsage | None = None
    model: str | None = None


class _Logprobs(Struct, frozen=True):
    content: list[Token] | None = None


_decoder = msgspec.json.Decoder(ChatReply)
_logprobs_decoder = msgspec.json.Decoder(_Logprobs | None)


def decode_reply(body: bytes) -> ChatReply:
    """Reads a reply of status 200. Raises Unavailable if it is not a completion."""
    return decode_body(_decoder, body)


def completion_of(reply: ChatReply, model: str) -> Completion:
    """The completion of a reply, without probabilities (`choices_in` reads them).

    Raises Unavailable if the reply has no choice.
    """
    if not reply.choices:
        raise unreadable("it has no choices")
    choice = reply.choices[0]
    stop_reason = _STOP_REASONS.get(choice.finish_reason, "malformed")
    verdicts = [
        call.function.arguments or ""
        for call in choice.message.tool_calls or ()
        if call.function.name == TOOL
    ]
    data = read_object(verdicts[-1]) if verdicts else None
    if stop_reason == "complete" and data == {}:
        stop_reason = "malformed"
    return Completion(
        text=answer_in(choice.message.content),
        data=data or None,
        stop_reason="refused" if choice.message.refusal else stop_reason,
        usage=_usage_of(reply.usage),
        model=reply.model or model,
    )


def choices_in(reply: ChatReply) -> tuple[TokenChoice, ...] | None:
    """The probabilities of the answer's numbers; `None` if the server sent none."""
    choice = reply.choices[0]
    tokens = tokens_in(choice.logprobs)
    text = answer_in(choice.message.content) or ""
    return None if tokens is None else choices_of(tokens, text)


def answer_in(content: str | None) -> str | None:
    """The content without the closed reasoning at its beginning: the text after the last closing tag, so that
    a tag quoted in the reasoning does not end it.
    """
    if content is not None and content.startswith("<"):
        for opening, closing in _REASONING:
            if content.startswith(opening):
                return content.rpartition(closing)[2] or content
    return content


def tokens_in(logprobs: Raw) -> Sequence[Token] | None:
    """The tokens in a choice's `logprobs`, `None` if there are none or they have an unknown form."""
    try:
        found = _logprobs_decoder.decode(logprobs)
    except NOT_JSON:
        return None
    return None if found is None else found.content


def _usage_of(usage: ChatUsage | None) -> Usage:
    """The usage; `prompt_tokens` includes cached tokens, our `input_tokens` does not."""
    if usage is None:
        return Usage(calls=1)
    details = usage.prompt_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    return Usage(usage.prompt_tokens - cached, usage.completion_tokens or 0, cached, 0, calls=1)
