"""Posts to one URL of an AWS service with the present identity."""

import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from msgspec import Struct

from judge_service.aws.credentials import ApiKey, Identity, IdentitySource
from judge_service.aws.refusal import Refusal, read_refusal
from judge_service.aws.sigv4 import CONTENT_TYPE, NO_HEADERS, Signer
from judge_service.flow import Request
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport


class _Site(Struct, frozen=True):
    """The URL and the signer of the calls."""

    url: str
    signer: Signer


class SignedEndpoint:
    """Posts once. Only a call that was refused because credentials had just expired, or because our clock
    was wrong, is sent again once with new credentials or the right time.

    identities: gives credentials and the region.
    service: its name in signatures.
    url_of: makes the URL from the region.
    now: wall clock for signatures, seconds since 1970.
    """

    def __init__(
        self,
        transport: HttpTransport,
        identities: IdentitySource,
        *,
        service: str,
        url_of: Callable[[str], str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.identities = identities
        self.renewals = 0
        self._transport = transport
        self._service = service
        self._url_of = url_of
        self._now = now
        self._skew_s = 0.0
        self._site: _Site | None = None

    def __repr__(self) -> str:
        where = self._site.url if self._site else "region not read yet"
        return f"SignedEndpoint({where}, {self.identities!r}, {self._transport!r})"

    @property
    def region(self) -> str:
        """The region of the calls; `""` before the first call."""
        return self._site.signer.region if self._site else ""

    async def post(
        self, request: Request[Any], body: bytes, headers: Mapping[str, str] = NO_HEADERS
    ) -> Reply:
        """Posts and returns the reply, of any status.

        headers: further headers, which are signed too; see `Signer.sign`.

        Raises CallError.
        """
        site = self._site or await self._open()
        identity = await self.identities.get()
        reply = await self._send(request, site, body, identity, headers)
        if reply.status == 200:
            return reply
        mended = await self._mend(read_refusal(reply), identity)
        if mended is None:
            return reply
        self.renewals += 1
        return await self._send(request, site, body, mended, headers)

    async def _open(self) -> _Site:
        region = await self.identities.region()
        url = self._url_of(region)
        self._site = _Site(url, Signer(url, region, self._service))
        return self._site

    def _send(
        self,
        request: Request[Any],
        site: _Site,
        body: bytes,
        identity: Identity,
        headers: Mapping[str, str],
    ) -> Coroutine[Any, Any, Reply]:
        if isinstance(identity, ApiKey):
            bearer = {"content-type": CONTENT_TYPE, "authorization": f"Bearer {identity.token}"}
            signed = {**bearer, **headers}
        else:
            signed = site.signer.sign(body, identity, self._now() + self._skew_s, headers)
        return self._transport.send(request, site.url, signed, body)

    async def _mend(self, refusal: Refusal, identity: Identity) -> Identity | None:
        """The identity for another try, `None` if another try would not help."""
        if refusal.skewed and refusal.served_at is not None:
            self._skew_s = refusal.served_at - self._now()
            return identity
        if refusal.expired:
            return await self.identities.renew(identity)
        return None
