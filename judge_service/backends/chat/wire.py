"""OpenAI chat completions as pure functions: makes a prompt's body and reads a reply's completion.

https://platform.openai.com/docs/api-reference/chat/create, with the deviations of vLLM, SGLang, TGI, LMI and
SageMaker's Nova (docs/backends.md).
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from judge_service.backends.answer import complete, read_verdict_object, several
from judge_service.backends.chat.token_choices import NOTHING, Token, choices_of
from judge_service.backends.request_form import Changes, messages_for
from judge_service.backends.vocabulary.refusals import NO_CACHE
from judge_service.backends.vocabulary.stops import meaning_of
from judge_service.http.failures import interrupted, unreadable
from judge_service.http.json_body import NOT_JSON, read_value
from judge_service.values import Channel, Completion, Prompt, TokenChoice, Usage

TOOL = "verdict"
CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")


def body_of(
    prompt: Prompt,
    model: str | None,
    *,
    changes: Changes = frozenset(),
    top_logprobs: int = 0,
    cache_key: str = "",
) -> dict[str, Any]:
    """The chat completions body of a prompt.

    model: `None` for servers with one model, which need no name.
    changes: see `request_form`.
    top_logprobs: alternatives of each token to request, 0 requests no probabilities at all.
    cache_key: brings prompts with an equal one to where their common beginning is cached; empty sends none.
    """
    body: dict[str, Any] = {} if model is None else {"model": model}
    messages = messages_for(prompt, changes) if changes else prompt.messages
    body["messages"] = [{"role": said.role, "content": said.content} for said in messages]
    limit = "max_completion_tokens" if "max_completion_tokens" in changes else "max_tokens"
    body[limit] = prompt.max_output_tokens
    if prompt.temperature is not None and "no temperature" not in changes:
        body["temperature"] = prompt.temperature
    if cache_key and NO_CACHE not in changes:
        body["prompt_cache_key"] = cache_key
    if top_logprobs and "no logprobs" not in changes:
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
    """A called function. arguments: JSON in a string."""

    name: str | None = None
    arguments: str | None = None


class ToolCall(Struct, frozen=True):
    function: Function = Function()


class ChatMessage(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(Struct, frozen=True):
    """A choice. `logprobs` is decoded only if it was requested, because servers fill it differently."""

    message: ChatMessage
    finish_reason: str | None = None
    logprobs: Raw = NOTHING
    error: Raw = NOTHING


class Details(Struct, frozen=True):
    cached_tokens: Count | None = None


class ChatUsage(Struct, frozen=True):
    prompt_tokens: Count = 0
    completion_tokens: Count | None = 0
    total_tokens: Count | None = 0
    prompt_tokens_details: Details | None = None


NO_USAGE = ChatUsage()


class ChatReply(Struct, frozen=True):
    """The fields of a chat completion that are read."""

    choices: list[Choice]
    usage: ChatUsage | None = None
    model: str | None = None
    error: Raw = NOTHING


class _Logprobs(Struct, frozen=True):
    content: list[Token] | None = None


_logprobs_decoder = msgspec.json.Decoder(_Logprobs | None)


def completion_of(reply: ChatReply, prompt: Prompt, model: str) -> Completion:
    """The completion of a reply, without probabilities (`choices_in` reads them).

    Raises Unavailable if the reply has no choice, or an error beside it; Denied (`too_long`) if the judge
    has not seen the prompt.
    """
    if not reply.choices:
        raise unreadable("it has no choices")
    choice = reply.choices[0]
    message, usage = choice.message, reply.usage or NO_USAGE
    if is_error(reply.error) or is_error(choice.error):
        raise unreadable("it holds an error")
    stop_reason = meaning_of(choice.finish_reason)
    if stop_reason == "failed":
        raise interrupted(choice.finish_reason or "")
    completion = complete(
        prompt,
        text=message.content,
        verdicts=[
            read_verdict_object(call.function.arguments or "")
            for call in message.tool_calls
            if call.function.name == TOOL
        ]
        if message.tool_calls
        else (),
        stop_reason="refused" if message.refusal else stop_reason,
        usage=_usage_of(usage),
        limited_tokens=usage.completion_tokens or 0,
        model=reply.model or model,
    )
    if len(reply.choices) > 1 and any(one.message != message for one in reply.choices):
        return several(completion)
    return completion


def unusable(model: str) -> Completion:
    """The completion of a server that says in an error that the model's answer was not in the asked form."""
    return Completion(stop_reason="malformed", usage=Usage(calls=1), model=model)


def is_error(found: Raw) -> bool:
    """Whether an `error` field tells an error: some servers send an empty one, or one of code 0."""
    if found is NOTHING:
        return False
    error = read_value(bytes(found))
    if isinstance(error, Mapping) and error.get("code") in (0, "0", 200, "200"):
        return False
    return bool(error)


def choices_in(reply: ChatReply, text: str | None) -> tuple[TokenChoice, ...] | None:
    """The probabilities of the numbers in an answer's text; `None` if the server sent none."""
    tokens = tokens_in(reply.choices[0].logprobs)
    return None if tokens is None else choices_of(tokens, text or "")


def tokens_in(logprobs: Raw) -> Sequence[Token] | None:
    """The tokens in a choice's `logprobs`, `None` if there are none or they have an unknown form."""
    try:
        found = _logprobs_decoder.decode(logprobs)
    except NOT_JSON:
        return None
    return None if found is None else found.content


def _usage_of(usage: ChatUsage) -> Usage:
    """The usage. `prompt_tokens` includes cached tokens, our `input_tokens` does not.

    Tokens that only the total has are reasoning, which xAI and Google count outside of `completion_tokens`.
    """
    details = usage.prompt_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    written = usage.completion_tokens or 0
    written += max(0, (usage.total_tokens or 0) - usage.prompt_tokens - written)
    return Usage(usage.prompt_tokens - cached, written, cached, 0, calls=1)
