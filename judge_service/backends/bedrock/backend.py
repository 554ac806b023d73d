"""Amazon Bedrock as a judge: Converse over our own HTTP client and signatures.

boto needs about 650 us of CPU a call; this needs about a tenth. `sdk.py` does the same with aioboto3, and a
test checks that both send the same request. A call makes one attempt: the flow layers retry. Only a call
that was refused because credentials had just expired, because our clock was wrong, or because of a part of
the request that can be left out (`request_form`), is sent again.
"""

import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import replace

from judge_service.aws.credentials import IdentitySource
from judge_service.aws.refusal import read_refusal
from judge_service.aws.signed_endpoint import SignedEndpoint
from judge_service.backends.bedrock.converse import (
    CHANGES,
    body_of,
    channels_of,
    completion_of,
    decode_reply,
)
from judge_service.backends.bedrock.errors import error_of, kind_of
from judge_service.backends.prompt_cache import PromptCaching
from judge_service.backends.request_form import Changes, RequestForm, described
from judge_service.backends.vocabulary.refusals import NO_CACHE, changes_for
from judge_service.flow import Request
from judge_service.http.json_body import encode_body
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport
from judge_service.values import Channel, Completion, Prompt

SERVICE = "bedrock"
"""The service name in signatures; the host's name is `bedrock-runtime`."""


class BedrockStatistics(Struct, frozen=True):
    """Calls started, completions, and calls sent again after a renewal."""

    calls: int
    completions: int
    renewals: int


def endpoint(region: str, endpoint_url: str | None) -> str:
    """The endpoint's URL without a trailing slash."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (endpoint_url or f"https://bedrock-runtime.{region}.{domain}").rstrip("/")


def converse_url(base_url: str, model: str) -> str:
    """The URL of a model; all characters except unreserved ones are percent-encoded, slashes too."""
    return f"{base_url}/model/{quote(model, safe='')}/converse"


class Bedrock:
    """One model in one region.

    model: model id, inference profile or ARN.
    identities: gives credentials and the region.
    endpoint_url: replaces the region's endpoint.
    caching: what the model is asked to keep of prompts, by default nothing.
    now: wall clock for signatures, seconds since 1970.
    """

    def __init__(
        self,
        model: str,
        *,
        transport: HttpTransport,
        identities: IdentitySource,
        endpoint_url: str | None = None,
        caching: PromptCaching | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.channels: tuple[Channel, ...] = channels_of(model)
        self._transport = transport
        self._identities = identities
        self._endpoint_url = endpoint_url
        self._caching = caching
        self._endpoint = SignedEndpoint(
            transport,
            identities,
            service=SERVICE,
            url_of=lambda region: converse_url(endpoint(region, endpoint_url), self.model),
            now=now,
        )
        self._form = RequestForm(*CHANGES)
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        where = self._endpoint_url or self._endpoint.region or "region not read yet"
        caching = "" if self._caching is None else f", {self._caching!r}"
        changes = f", {self._form!r}" if self._form.changes else ""
        return (
            f"Bedrock({self.model}, {where}{caching}{changes}, {self._identities!r},"
            f" {self._transport!r})"
        )

    def statistics(self) -> BedrockStatistics:
        return BedrockStatistics(self._calls, self._completions, self._endpoint.renewals)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Makes one call. Raises CallError."""
        self._calls += 1
        prompt, changes = request.body, self._form.changes
        cached_chars = 0 if self._caching is None else self._caching.chars(prompt)
        post = partial(self._post, request, cached_chars)
        reply = await post(changes)
        if reply.status >= 300:
            needless = frozenset() if cached_chars else frozenset({NO_CACHE})
            reply, changes = await self._form.mend(
                prompt, reply, post, _refusal_of, needless=needless
            )
        if reply.status >= 300:
            raise error_of(read_refusal(reply), self.model, self._endpoint.region)
        completion = completion_of(decode_reply(reply.body), prompt, self.model)
        if changes:
            self._form.keep(changes)
            if NO_CACHE in changes and self._caching is not None:
                self._caching.refuse()
            completion = replace(completion, asked=described(changes))
        self._completions += 1
        return completion

    def _post(
        self, request: Request[Prompt], cached_chars: int, changes: Changes
    ) -> Coroutine[Any, Any, Reply]:
        body = body_of(request.body, self.model, changes=changes, cached_chars=cached_chars)
        return self._endpoint.post(request, encode_body(body))

    async def aclose(self) -> None:
        await self._transport.aclose()


def _refusal_of(reply: Reply) -> str:
    """What a reply says that refuses the request."""
    refusal = read_refusal(reply)
    if reply.status < 300:
        return ""
    kind, message = kind_of(refusal), refusal.message
    of_cache = kind == "forbidden" and NO_CACHE in changes_for(
        message
    )  # says what it does not allow
    return message if kind == "invalid" or of_cache else ""
