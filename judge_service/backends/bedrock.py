"""Amazon Bedrock as a judge: Converse, signed and sent by ourselves.

Against boto's about 650 us of CPU a call this costs about a tenth; `bedrock_sdk.py` is the same thing
over aioboto3, and a test holds that both send the same request. It makes exactly one attempt:
retries belong to the flow above. Only a call refused because credentials had just expired, or
because our clock was off, is sent again once, after mending that.
"""

import time
from collections.abc import Callable
from urllib.parse import quote

from msgspec import Struct

from judge_service.backends.bedrock_errors import Refusal, error_of, read_refusal
from judge_service.backends.bedrock_wire import (
    body_of,
    channels_of,
    completion_of,
    decode_reply,
)
from judge_service.backends.credentials import ApiKey, Identity, IdentitySource
from judge_service.backends.json_body import encode_body
from judge_service.backends.probe import problems
from judge_service.backends.reply import Reply
from judge_service.backends.sigv4 import CONTENT_TYPE, Signer
from judge_service.backends.transport import HttpTransport
from judge_service.flow import Request
from judge_service.values import Channel, Completion, Prompt

SERVICE = "bedrock"
"""The name requests are signed for; the host's name is `bedrock-runtime`."""


class BedrockStatistics(Struct, frozen=True):
    """Calls begun, how many gave a completion, and how many were sent again after a renewal."""

    calls: int
    completions: int
    renewals: int


class _Site(Struct, frozen=True):
    """Where the calls go."""

    url: str
    signer: Signer


def endpoint(region: str, endpoint_url: str | None) -> str:
    """The endpoint's URL without a trailing slash."""
    domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return (endpoint_url or f"https://bedrock-runtime.{region}.{domain}").rstrip("/")


def converse_url(base_url: str, model: str) -> str:
    """The URL of a model; everything but unreserved characters is percent-encoded, slashes too."""
    return f"{base_url}/model/{quote(model, safe='')}/converse"


class Bedrock:
    """One model in one region.

    model: model id, inference profile or ARN.
    identities: where credentials and the region come from.
    endpoint_url: instead of the region's own endpoint.
    now: wall clock for signatures, seconds since 1970.
    """

    def __init__(
        self,
        model: str,
        *,
        transport: HttpTransport,
        identities: IdentitySource,
        endpoint_url: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.model = model
        self.channels: tuple[Channel, ...] = channels_of(model)
        self._transport = transport
        self._identities = identities
        self._endpoint_url = endpoint_url
        self._now = now
        self._skew_s = 0.0
        self._site: _Site | None = None
        self._calls = self._completions = self._renewals = 0

    def __repr__(self) -> str:
        where = self._endpoint_url or (
            self._site.signer.region if self._site else "region not read yet"
        )
        return f"Bedrock({self.model}, {where}, {self._identities!r}, {self._transport!r})"

    def statistics(self) -> BedrockStatistics:
        return BedrockStatistics(self._calls, self._completions, self._renewals)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Asks once. Raises CallError."""
        self._calls += 1
        body = encode_body(body_of(request.body, self.model))
        site = self._site or await self._open()
        identity = await self._identities.get()
        reply = await self._post(request, site, body, identity)
        if reply.status != 200:
            reply = await self._mend(request, site, body, identity, read_refusal(reply))
        completion = completion_of(decode_reply(reply.body), self.model)
        self._completions += 1
        return completion

    async def check(self) -> list[str]:
        """What stands in the way of judging, found by one call of one token."""
        return await problems(self)

    async def aclose(self) -> None:
        await self._transport.aclose()

    async def _open(self) -> _Site:
        region = await self._identities.region()
        url = converse_url(endpoint(region, self._endpoint_url), self.model)
        self._site = _Site(url, Signer(url, region, SERVICE))
        return self._site

    async def _post(
        self, request: Request[Prompt], site: _Site, body: bytes, identity: Identity
    ) -> Reply:
        if isinstance(identity, ApiKey):
            headers = {"content-type": CONTENT_TYPE, "authorization": f"Bearer {identity.token}"}
        else:
            headers = site.signer.sign(body, identity, self._now() + self._skew_s)
        return await self._transport.send(request, site.url, headers, body)

    async def _mend(
        self,
        request: Request[Prompt],
        site: _Site,
        body: bytes,
        identity: Identity,
        refusal: Refusal,
    ) -> Reply:
        """Renews what the refusal complains of and sends once more, or raises the refusal's error."""
        region = site.signer.region
        if refusal.skewed and refusal.served_at is not None:
            self._skew_s = refusal.served_at - self._now()
        elif refusal.expired:
            identity = await self._identities.renew(identity)
        else:
            raise error_of(refusal, self.model, region)
        self._renewals += 1
        reply = await self._post(request, site, body, identity)
        if reply.status != 200:
            raise error_of(read_refusal(reply), self.model, region)
        return reply
