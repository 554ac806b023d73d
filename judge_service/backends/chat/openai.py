"""An endpoint with the OpenAI chat completions API as a judge."""

from collections.abc import Coroutine
from functools import partial
from typing import Any

from msgspec import Struct

from judge_service.backends.chat.errors import (
    Complaint,
    complaint_in,
    denial_of,
    failure_of,
    read_complaint,
)
from judge_service.backends.chat.logprobs import Logprobs
from judge_service.backends.chat.stream import read_reply
from judge_service.backends.chat.wire import CHANNELS, body_of, completion_of
from judge_service.errors import CallError, CredentialsError, Denied, Unavailable
from judge_service.flow import Request
from judge_service.http.json_body import encode_body
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport
from judge_service.values import Completion, Prompt


class OpenAIStatistics(Struct, frozen=True):
    """Calls started, completions, and completions without the requested probabilities."""

    calls: int
    completions: int
    without_logprobs: int


class OpenAI:
    """One model at one endpoint.

    base_url: URL up to and including `/v1`.
    api_key: sent as a bearer token, `None` sends none.
    api_key_env: name of the key's environment variable, for errors.
    logprobs: alternatives of each token to request, so that a score is an expectation; 0 requests none.
    """

    def __init__(
        self,
        model: str,
        *,
        transport: HttpTransport,
        base_url: str,
        api_key: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        logprobs: int = 0,
    ) -> None:
        self.model = model
        self.channels = CHANNELS
        self._transport = transport
        self._base_url = base_url.rstrip("/")
        self._url = f"{self._base_url}/chat/completions"
        self._api_key_env = api_key_env
        self._headers = {"content-type": "application/json"}
        if api_key:
            self._headers["authorization"] = f"Bearer {api_key}"
        self._limit_field = "max_tokens"
        self._logprobs = Logprobs(logprobs, setting="openai.logprobs", is_refusal=_is_of_logprobs)
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        key = self._api_key_env if "authorization" in self._headers else "no key"
        return f"OpenAI({self.model}, {self._base_url}, {key}, {self._transport!r})"

    def statistics(self) -> OpenAIStatistics:
        return OpenAIStatistics(self._calls, self._completions, self._logprobs.missing)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Makes one call, and another one if the model needs the newer name of the token limit or refuses
        probabilities. Raises CallError.
        """
        self._calls += 1
        field, top_logprobs = self._limit_field, self._logprobs.wanted(request.body)
        reply = await self._send(request, field, top_logprobs)
        if reply.status != 200:
            reply = await self._mend(request, reply, field, top_logprobs)
        if reply.status != 200:
            raise self._error_of(_complaint(reply))
        completion = self._read(request.body, reply)
        self._completions += 1
        return completion

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _read(self, prompt: Prompt, reply: Reply) -> Completion:
        try:
            chat = read_reply(reply.body)
            return self._logprobs.read(prompt, chat, completion_of(chat, self.model))
        except Unavailable:
            if complaint := complaint_in(reply.body):
                raise self._error_of(complaint) from None
            raise

    async def _mend(
        self, request: Request[Prompt], refusal: Reply, field: str, top_logprobs: int
    ) -> Reply:
        """The reply to another call without what the refusal complains of, else the refusal."""
        reply = await self._rename(request, refusal, field, top_logprobs)
        return await self._logprobs.mend(top_logprobs, reply, partial(self._post, request))

    async def _post(self, request: Request[Prompt], top_logprobs: int) -> Reply:
        field = self._limit_field
        reply = await self._send(request, field, top_logprobs)
        return await self._rename(request, reply, field, top_logprobs)

    async def _rename(
        self, request: Request[Prompt], reply: Reply, field: str, top_logprobs: int
    ) -> Reply:
        """The reply to the same call with the newer name of the limit, if it is asked for."""
        if reply.status != 400 or field != "max_tokens":
            return reply
        if b"max_completion_tokens" not in reply.body:
            return reply
        self._limit_field = "max_completion_tokens"
        return await self._send(request, self._limit_field, top_logprobs)

    def _send(
        self, request: Request[Prompt], limit_field: str, top_logprobs: int
    ) -> Coroutine[Any, Any, Reply]:
        asked = body_of(
            request.body, self.model, limit_field=limit_field, top_logprobs=top_logprobs
        )
        return self._transport.send(request, self._url, self._headers, encode_body(asked))

    def _error_of(self, complaint: Complaint) -> CallError:
        """Maps this protocol's refusals to our errors."""
        failure = failure_of(complaint)
        if failure is not None:
            return failure
        status, said = complaint.status, complaint.said
        if status in (401, 403):
            return CredentialsError(
                f"{self._base_url} does not accept the key ({said}): set {self._api_key_env}"
            )
        if status in (404, 405) or status < 400:
            return Denied(
                f"{self._base_url} has no such model or path ({said}):"
                f" check `model` ({self.model}) and openai.base_url"
            )
        return denial_of(complaint, self._base_url)


def _complaint(reply: Reply) -> Complaint:
    return read_complaint(reply.status, reply.body, reply.retry_after_s())


def _is_of_logprobs(reply: Reply) -> bool:
    return reply.status != 200 and _complaint(reply).is_of_logprobs
