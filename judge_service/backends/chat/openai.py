"""An endpoint with the OpenAI chat completions API as a judge."""

from collections.abc import Coroutine
from functools import partial
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from judge_service.backends.chat.errors import (
    Complaint,
    complaint_in,
    complaint_of,
    denial_of,
    failure_of,
    is_bad_draw,
)
from judge_service.backends.chat.logprobs import Logprobs
from judge_service.backends.chat.stream import read_reply
from judge_service.backends.chat.wire import CHANNELS, body_of, completion_of, unusable
from judge_service.backends.prompt_cache import PromptCaching
from judge_service.backends.request_form import Changes, RequestForm, described
from judge_service.backends.vocabulary.refusals import CHANGES, NO_CACHE, says
from judge_service.errors import CallError, CredentialsError, Denied, Unavailable
from judge_service.flow import Request
from judge_service.http.failures import refused
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
    caching: which prompts get a `prompt_cache_key`, by default none.
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
        caching: PromptCaching | None = None,
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
        self._caching = caching
        self._form = RequestForm(*CHANGES)
        self._logprobs = Logprobs(logprobs, setting="openai.logprobs")
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        key = self._api_key_env if "authorization" in self._headers else "no key"
        caching = "" if self._caching is None else f", {self._caching!r}"
        changes = f", {self._form!r}" if self._form.changes else ""
        return (
            f"OpenAI({self.model}, {self._base_url}, {key}{caching}{changes}, {self._transport!r})"
        )

    def statistics(self) -> OpenAIStatistics:
        return OpenAIStatistics(self._calls, self._completions, self._logprobs.missing)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Makes one call, and further ones if the model refuses a part of the request that can be changed
        (`request_form`). Raises CallError.
        """
        self._calls += 1
        prompt, changes = request.body, self._form.changes
        top_logprobs = self._logprobs.wanted(prompt)
        cache_key = "" if self._caching is None else self._caching.key(prompt)
        reply = await self._post(request, top_logprobs, cache_key, changes)
        if reply.status >= 300:
            post = partial(self._post, request, top_logprobs, cache_key)
            asked = {"no logprobs": top_logprobs, NO_CACHE: cache_key}
            needless = frozenset(change for change, value in asked.items() if not value)
            reply, changes = await self._form.mend(
                prompt, reply, post, _refusal_of, needless=needless
            )
        completion = self._read(prompt, reply, changes)
        if changes:
            self._form.keep(changes)
            if "no logprobs" in changes:
                self._logprobs.stop()
            if NO_CACHE in changes and self._caching is not None:
                self._caching.refuse()
            completion = replace(completion, asked=described(changes))
        self._completions += 1
        return completion

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _read(self, prompt: Prompt, reply: Reply, changes: Changes) -> Completion:
        """The completion in a reply of any status. Raises CallError."""
        if reply.status >= 300:
            return self._conclude(complaint_of(reply))
        try:
            chat = read_reply(reply.body)
            completion = completion_of(chat, prompt, self.model)
        except Unavailable:
            if complaint := complaint_in(reply.body):
                return self._conclude(complaint)
            raise
        if "no logprobs" in changes:
            return completion
        return self._logprobs.read(prompt, chat, completion)

    def _conclude(self, complaint: Complaint) -> Completion:
        """The completion that says that the model's answer was unusable; raises the error of any other
        complaint.
        """
        if is_bad_draw(complaint):
            return unusable(self.model)
        raise self._error_of(complaint)

    def _post(
        self, request: Request[Prompt], top_logprobs: int, cache_key: str, changes: Changes
    ) -> Coroutine[Any, Any, Reply]:
        asked = body_of(
            request.body,
            self.model,
            changes=changes,
            top_logprobs=top_logprobs,
            cache_key=cache_key,
        )
        return self._transport.send(request, self._url, self._headers, encode_body(asked))

    def _error_of(self, complaint: Complaint) -> CallError:
        """Maps this protocol's refusals to our errors."""
        failure = failure_of(complaint)
        if failure is not None:
            return failure
        status, said = complaint.status, complaint.said
        if status == 403 and says("filtered", complaint.words):
            return refused(said)
        if status in (401, 403):
            return CredentialsError(
                f"{self._base_url} does not accept the key ({said}): set {self._api_key_env}"
            )
        if status == 404 and says("channel", complaint.words):
            return denial_of(complaint, self._base_url)
        if status in (404, 405) or status < 400:
            return Denied(
                f"{self._base_url} has no such model or path ({said}):"
                f" check `model` ({self.model}) and openai.base_url"
            )
        return denial_of(complaint, self._base_url)


def _refusal_of(reply: Reply) -> str:
    return complaint_of(reply).request_refusal if reply.status >= 300 else ""
