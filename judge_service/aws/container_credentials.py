"""Credentials from a container's endpoint: ECS, EKS, and Lambda with SnapStart.

With SnapStart the environment has no keys, because they would become part of the snapshot.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from math import inf
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from judge_service.aws.credentials import (
    CONTAINER_VARIABLES,
    Credentials,
    Identity,
    Service,
    no_region,
)
from judge_service.errors import CallError, CredentialsError
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings

RELATIVE_HOST = "http://169.254.170.2"
LINK_LOCAL = frozenset({"169.254.170.2", "169.254.170.23", "fd00:ec2::23"})
LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Hosts from which keys may be requested without TLS; AWS's clients allow the same."""

TIMEOUT_S = 2.0
RENEW_BEFORE_S = 300.0
"""AWS gives new keys at least five minutes before the old ones expire."""

ASK_AGAIN_S = 5.0
"""Pause before the endpoint is asked again that gave no new keys, seconds. All calls wait for its answer, and
meanwhile the keys at hand are used as long as they are valid."""


class _Keys(Struct, frozen=True, rename="pascal"):
    """The endpoint's reply. expiration: an ISO date."""

    access_key_id: str
    secret_access_key: str
    token: str = ""
    expiration: str = ""


def container_url(environ: Mapping[str, str]) -> str:
    """The URL of the endpoint."""
    relative, full = map(environ.get, CONTAINER_VARIABLES)
    return RELATIVE_HOST + relative if relative else full or ""


class Container:
    """Gets keys from the endpoint, when there are none or they are about to expire.

    One request serves all waiting calls. Keys that are still valid are kept while the endpoint fails.

    now: wall clock, seconds since 1970.

    Raises CredentialsError for an address that must not provide keys.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        region: str | None,
        service: Service = "bedrock",
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._environ = environ
        self._url = container_url(environ)
        self._region = region
        self._service = service
        self._now = now
        self._identity: Credentials | None = None
        self._expires_s = self._renew_at_s = 0.0
        self._unchanged_at_s = -inf
        self._lock = asyncio.Lock()
        parts = urlsplit(self._url)
        if parts.scheme != "https" and parts.hostname not in LINK_LOCAL | LOOPBACK:
            raise CredentialsError(
                f"AWS_CONTAINER_CREDENTIALS_FULL_URI names {parts.hostname}, which is not trusted without"
                " TLS: use https, or the address that AWS set"
            )

    def __repr__(self) -> str:
        return f"credentials from the container's endpoint at {urlsplit(self._url).hostname}"

    async def get(self) -> Identity:
        if self._identity is None or self._now() >= self._renew_at_s:
            async with self._lock:
                if self._identity is None or self._now() >= self._renew_at_s:
                    return await self._renewed()
        return self._identity

    async def _renewed(self) -> Credentials:
        try:
            return await self._ask()
        except CredentialsError:
            if self._identity is None or self._now() >= self._expires_s:
                raise
            self._renew_at_s = self._now() + ASK_AGAIN_S
            return self._identity

    async def renew(self, refused: Identity) -> Identity:
        async with self._lock:
            if self._identity == refused and self._now() >= self._unchanged_at_s + ASK_AGAIN_S:
                await self._ask()
        identity = await self.get()
        if identity == refused:
            raise CredentialsError(
                f"{self!r} have expired and the endpoint gives no new ones; start again"
            )
        return identity

    async def region(self) -> str:
        return self._region or no_region(self._service)

    async def _ask(self) -> Credentials:
        transport, headers = await asyncio.to_thread(self._prepare)
        try:
            reply = await transport.get(self._url, headers, TIMEOUT_S)
        except CallError as problem:
            raise CredentialsError(
                f"{self!r} are not available: the endpoint does not answer"
            ) from problem
        finally:
            await transport.aclose()
        keys = self._read(reply)
        found = Credentials(keys.access_key_id, keys.secret_access_key, keys.token or None)
        now = self._now()
        if found == self._identity:
            self._unchanged_at_s = now
        self._identity = found
        self._expires_s = _seconds(keys.expiration)
        self._renew_at_s = max(self._expires_s - RENEW_BEFORE_S, now + ASK_AGAIN_S)
        return found

    def _prepare(self) -> tuple[HttpTransport, dict[str, str]]:
        """Reads files: do not call it on the loop."""
        file = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE")
        token = self._environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN")
        try:
            token = Path(file).read_text("utf-8").strip() if file else token
        except OSError as problem:
            raise CredentialsError(f"{file} cannot be read ({problem.strerror})") from None
        transport = HttpTransport(HttpSettings(connect_timeout_s=TIMEOUT_S), 1)
        return transport, {"authorization": token} if token else {}

    def _read(self, reply: Reply) -> _Keys:
        if reply.status != 200:
            raise CredentialsError(f"{self!r} are refused (status {reply.status})")
        try:
            return msgspec.json.decode(reply.body, type=_Keys)
        except msgspec.DecodeError:
            raise CredentialsError(f"{self!r} cannot be read: the reply has another form") from None


def _seconds(moment: str) -> float:
    """An ISO date as seconds since 1970; keys without a date do not expire."""
    try:
        return datetime.fromisoformat(moment).timestamp()
    except ValueError:
        return inf
