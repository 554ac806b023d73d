"""An Amazon SageMaker endpoint as a judge: InvokeEndpoint with OpenAI chat bodies."""

import time
from collections.abc import Callable, Coroutine
from functools import lru_cache, partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from judge_service.aws.credentials import IdentitySource
from judge_service.aws.signed_endpoint import SignedEndpoint
from judge_service.backends.chat.errors import complaint_in, is_bad_draw
from judge_service.backends.chat.logprobs import Logprobs
from judge_service.backends.chat.sagemaker_errors import (
    container_complaint,
    error_of,
    error_of_container,
)
from judge_service.backends.chat.stream import read_reply
from judge_service.backends.chat.wire import CHANNELS, body_of, completion_of, unusable
from judge_service.backends.request_form import Changes, RequestForm, described
from judge_service.backends.vocabulary.refusals import CHANGES
from judge_service.errors import Unavailable
from judge_service.flow import Request
from judge_service.http.failures import too_long
from judge_service.http.json_body import encode_body
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport
from judge_service.settings import SageMakerSettings
from judge_service.values import Channel, Completion, Criterion, Prompt

SERVICE = "sagemaker"
"""The service name in signatures; the host's name is `runtime.sagemaker`."""

MAX_BODY_BYTES = 6_291_456
"""Limit of the API's model; the guide says 25 MB, but a body within the smaller limit passes both."""

COMPONENT = "x-amzn-sagemaker-inference-component"
PREFIX_ID = "x-amzn-sagemaker-prefix-aware-id"


class SageMakerStatistics(Struct, frozen=True):
    """Calls started, completions, completions without the requested probabilities, and calls sent again
    after a renewal.
    """

    calls: int
    completions: int
    without_logprobs: int
    renewals: int


def invocations_url(region: str, name: str, endpoint_url: str | None) -> str:
    """The URL at which an endpoint is invoked."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    base = (endpoint_url or f"https://runtime.sagemaker.{region}.{domain}").rstrip("/")
    return f"{base}/endpoints/{quote(name, safe='')}/invocations"


class SageMaker:
    """One endpoint in one region. A call makes one attempt; it is sent once more only if `SignedEndpoint`
    renewed credentials or time, or if the endpoint refused a part of it that can be changed (`request_form`).

    model: the endpoint's name.
    identities: gives credentials and the region.
    sagemaker: the section of the settings: dialect, component and others.
    now: wall clock for signatures, seconds since 1970.
    """

    def __init__(
        self,
        model: str,
        *,
        transport: HttpTransport,
        identities: IdentitySource,
        sagemaker: SageMakerSettings,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.channels: tuple[Channel, ...] = CHANNELS if sagemaker.dialect == "chat" else ("text",)
        self._sagemaker = sagemaker
        self._transport = transport
        self._identities = identities
        self._endpoint = SignedEndpoint(
            transport,
            identities,
            service=SERVICE,
            url_of=lambda region: invocations_url(region, self.model, sagemaker.endpoint_url),
            now=now,
        )
        self._form = RequestForm(*CHANGES)
        self._logprobs = Logprobs(sagemaker.logprobs, setting="sagemaker.logprobs")
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        where = self._sagemaker.endpoint_url or self._endpoint.region or "region not read yet"
        component = self._sagemaker.inference_component
        name = f"{self.model}/{component}" if component else self.model
        form = f", {self._form!r}" if self._form.changes else ""
        dialect = f"{self._sagemaker.dialect}{form}"
        return f"SageMaker({name}, {dialect}, {where}, {self._identities!r}, {self._transport!r})"

    def statistics(self) -> SageMakerStatistics:
        return SageMakerStatistics(
            self._calls, self._completions, self._logprobs.missing, self._endpoint.renewals
        )

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Makes one call. Raises CallError."""
        self._calls += 1
        prompt, changes = request.body, self._form.changes
        top_logprobs = self._logprobs.wanted(prompt)
        post = partial(self._post, request, self._headers_of(prompt), top_logprobs)
        reply = await post(changes)
        if reply.status >= 300:
            needless = frozenset() if top_logprobs else frozenset({"no logprobs"})
            reply, changes = await self._form.mend(
                prompt, reply, post, _refusal_of, needless=needless
            )
        completion = self._read(prompt, reply, changes)
        if changes:
            self._form.keep(changes)
            if "no logprobs" in changes:
                self._logprobs.stop()
            completion = replace(completion, asked=described(changes))
        self._completions += 1
        return completion

    async def aclose(self) -> None:
        await self._transport.aclose()

    def _post(
        self,
        request: Request[Prompt],
        headers: dict[str, str],
        top_logprobs: int,
        changes: Changes,
    ) -> Coroutine[Any, Any, Reply]:
        body = self._encoded(request.body, top_logprobs, changes)
        return self._endpoint.post(request, body, headers)

    def _encoded(self, prompt: Prompt, top_logprobs: int, changes: Changes) -> bytes:
        """Encodes the body. Raises Denied for a body that SageMaker would refuse."""
        sagemaker = self._sagemaker
        name = sagemaker.model_name if sagemaker.dialect == "chat" else ""
        asked: dict[str, Any] = body_of(
            prompt, name or None, changes=changes, top_logprobs=top_logprobs
        )
        if sagemaker.reasoning_effort:
            asked["reasoning_effort"] = sagemaker.reasoning_effort
        body = encode_body(asked)
        if len(body) > MAX_BODY_BYTES:
            raise too_long(f"{len(body)} bytes; SageMaker accepts {MAX_BODY_BYTES}")
        return body

    def _headers_of(self, prompt: Prompt) -> dict[str, str]:
        """The headers, in the order in which they are signed."""
        system = "\n".join([said.content for said in prompt.messages if said.role == "system"])
        headers = {PREFIX_ID: prefix_id(system, prompt.question.criteria)}
        if self._sagemaker.inference_component:
            return {COMPONENT: self._sagemaker.inference_component, **headers}
        return headers

    def _read(self, prompt: Prompt, reply: Reply, changes: Changes) -> Completion:
        """The completion in a reply of any status. Raises CallError."""
        if reply.status >= 300:
            complaint = container_complaint(reply)
            if complaint is not None and is_bad_draw(complaint):
                return unusable(self.model)
            raise error_of(reply, self.model, self._endpoint.region)
        try:
            chat = read_reply(reply.body)
            completion = completion_of(chat, prompt, self.model)
        except Unavailable:
            complaint = complaint_in(reply.body)
            if complaint is None:
                raise
            if is_bad_draw(complaint):
                return unusable(self.model)
            raise error_of_container(complaint, self.model) from None
        if "no logprobs" in changes:
            return completion
        return self._logprobs.read(prompt, chat, completion)


@lru_cache(maxsize=64)
def prefix_id(system: str, criteria: tuple[Criterion, ...]) -> str:
    """An id that all prompts of a rubric share, in every process: 32 hex characters.

    An endpoint with the routing strategy PREFIX_AWARE routes equal ids to where the prefix is cached.
    """
    parts = msgspec.json.encode([system, criteria])
    return sha256(parts).hexdigest()[:32]


def _refusal_of(reply: Reply) -> str:
    """What the container says that refuses the request."""
    complaint = container_complaint(reply) if reply.status >= 300 else None
    return complaint.request_refusal if complaint is not None else ""
