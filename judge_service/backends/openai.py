"""Any endpoint that speaks OpenAI chat completions, as a judge."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from judge_service.backends.failures import printable, too_long, unreadable
from judge_service.backends.json_body import decode_body, encode_body, read_object
from judge_service.backends.probe import problems
from judge_service.backends.reply import Reply
from judge_service.backends.transport import HttpTransport
from judge_service.errors import (
    CallError,
    CredentialsError,
    Denied,
    QuotaExhausted,
    Throttled,
    Unavailable,
)
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Prompt, StopReason, Usage

TOOL = "verdict"
CHANNELS: tuple[Channel, ...] = ("schema", "tool", "text")

_STOP_REASONS: Mapping[str | None, StopReason] = {
    "stop": "complete",
    "tool_calls": "complete",
    "function_call": "complete",
    "length": "max_tokens",
    "content_filter": "refused",
}
_CHANNEL = re.compile(
    r"response_format|json_?schema|structured output|guided|tool_?choice|\btools?\b|function call",
    re.IGNORECASE,
)
_TOO_LONG = re.compile(
    r"context_length_exceeded|maximum context|context (window|length)|too long|too many tokens",
    re.IGNORECASE,
)


class OpenAIStatistics(Struct, frozen=True):
    """Calls begun, and how many gave a completion."""

    calls: int
    completions: int


class OpenAI:
    """One model at one endpoint.

    base_url: up to and including `/v1`.
    api_key: sent as a bearer token, `None` sends none.
    api_key_env: the variable the key came from, named in errors.
    """

    def __init__(
        self,
        model: str,
        *,
        transport: HttpTransport,
        base_url: str,
        api_key: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
    ) -> None:
        self.model = model
        self.channels = CHANNELS
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._api_key_env = api_key_env
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._limit_field = "max_tokens"
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        key = self._api_key_env if "authorization" in self._headers else "no key"
        return f"OpenAI({self.model}, {self._base_url}, {key}, {self._transport!r})"

    def statistics(self) -> OpenAIStatistics:
        return OpenAIStatistics(self._calls, self._completions)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Asks once; once more if the model wants its token limit under the newer name. Raises CallError."""
        self._calls += 1
        field = self._limit_field
        reply = await self._post(request, field)
        if reply.status == 400 and field == "max_tokens" and b"max_completion_tokens" in reply.body:
            self._limit_field = "max_completion_tokens"
            reply = await self._post(request, self._limit_field)
        if reply.status != 200:
            raise self._error_of(reply)
        completion = completion_of(decode_body(_decoder, reply.body), self.model)
        self._completions += 1
        return completion

    async def check(self) -> list[str]:
        """What stands in the way of judging, found by one call of one token."""
        return await problems(self)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _post(self, request: Request[Prompt], limit_field: str) -> Reply:
        body = encode_body(body_of(request.body, self.model, limit_field))
        url = f"{self._base_url}/chat/completions"
        return await self._transport.send(request, url, self._headers, body)

    def _error_of(self, reply: Reply) -> CallError:
        """The one place where this protocol's refusals become ours."""
        code, message = _complaint(reply)
        status, said = reply.status, " ".join(filter(None, (str(reply.status), code, message)))
        if status == 429 and code == "insufficient_quota":
            return QuotaExhausted(f"the judge's quota is used up ({said})")
        if status == 429:
            wait_s = reply.retry_after_s()
            return Throttled(f"the judge's quota has no room now ({said})", retry_after_s=wait_s)
        if status in (401, 403):
            return CredentialsError(
                f"{self._base_url} does not accept the key ({said}): set {self._api_key_env}"
            )
        if status == 408 or status >= 500:
            return _failure(reply, said)
        return self._denied(status, code, message, said)

    def _denied(self, status: int, code: str, message: str, said: str) -> Denied:
        if status in (404, 405) or status < 400:
            return Denied(
                f"{self._base_url} has no such model or path ({said}):"
                f" check `model` ({self.model}) and openai.base_url"
            )
        if status == 413 or _TOO_LONG.search(f"{code} {message}"):
            return too_long(said)
        channel = _CHANNEL.search(f"{code} {message}") is not None
        return Denied(f"{self._base_url} refuses the call ({said})", unsupported_channel=channel)


def _failure(reply: Reply, said: str) -> Unavailable:
    """Whether a failed call was charged is not known, except that a busy server (503) did no work."""
    return Unavailable(
        f"the judge failed ({said})",
        retry_after_s=reply.retry_after_s(),
        charged=reply.status not in (503, 529),
        max_retries=1 if reply.status == 408 else None,
        backoff_s=0.5 if reply.status == 408 else 0.05,
    )


def _complaint(reply: Reply) -> tuple[str, str]:
    """Code and message of an error, nested as OpenAI does or flat as vLLM does."""
    body = read_object(reply.body)
    error = body.get("error", body)
    if not isinstance(error, Mapping):
        return "", printable(error)
    code = error.get("code") or error.get("type")
    return printable(code), printable(error.get("message"))


def body_of(prompt: Prompt, model: str, limit_field: str = "max_tokens") -> dict[str, Any]:
    """The chat completions body of a prompt."""
    body: dict[str, Any] = {
        "model": model,
        "messages": [{"role": said.role, "content": said.content} for said in prompt.messages],
        limit_field: prompt.max_output_tokens,
    }
    if prompt.temperature is not None:
        body["temperature"] = prompt.temperature
    if prompt.schema is not None and prompt.channel == "schema":
        schema = {"name": TOOL, "schema": prompt.schema, "strict": True}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif prompt.schema is not None and prompt.channel == "tool":
        function = {"name": TOOL, "description": "Gives the verdict.", "parameters": prompt.schema}
        body["tools"] = [{"type": "function", "function": function}]
        body["tool_choice"] = {"type": "function", "function": {"name": TOOL}}
    return body


Count = Annotated[int, Meta(ge=0)]


class _Function(Struct, frozen=True):
    name: str = ""
    arguments: str = ""


class _ToolCall(Struct, frozen=True):
    function: _Function = _Function()


class _Message(Struct, frozen=True):
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_ToolCall] | None = None


class _Choice(Struct, frozen=True):
    message: _Message
    finish_reason: str | None = None


class _Details(Struct, frozen=True):
    cached_tokens: Count | None = None


class _Usage(Struct, frozen=True):
    prompt_tokens: Count = 0
    completion_tokens: Count | None = 0
    prompt_tokens_details: _Details | None = None


class ChatReply(Struct, frozen=True):
    """What is read of a chat completion."""

    choices: list[_Choice]
    usage: _Usage | None = None
    model: str | None = None


_decoder = msgspec.json.Decoder(ChatReply)


def completion_of(reply: ChatReply, model: str) -> Completion:
    """A completion. Raises Unavailable if the reply holds no choice at all."""
    if not reply.choices:
        raise unreadable("it has no choices")
    choice = reply.choices[0]
    stop_reason = _STOP_REASONS.get(choice.finish_reason, "malformed")
    verdicts = [
        call.function.arguments
        for call in choice.message.tool_calls or ()
        if call.function.name == TOOL
    ]
    data = read_object(verdicts[-1]) if verdicts else None
    if stop_reason == "complete" and data == {}:
        stop_reason = "malformed"
    return Completion(
        text=choice.message.content,
        data=data or None,
        stop_reason="refused" if choice.message.refusal else stop_reason,
        usage=_usage_of(reply.usage),
        model=reply.model or model,
    )


def _usage_of(usage: _Usage | None) -> Usage:
    """`prompt_tokens` counts cached ones too; ours does not."""
    if usage is None:
        return Usage(calls=1)
    details = usage.prompt_tokens_details
    cached = min(usage.prompt_tokens, (details and details.cached_tokens) or 0)
    return Usage(usage.prompt_tokens - cached, usage.completion_tokens or 0, cached, 0, calls=1)
