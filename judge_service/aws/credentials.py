"""AWS credentials: their sources, and their renewal when a service refuses them."""

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, Literal, Protocol

from msgspec import Struct

from judge_service.errors import CredentialsError, Denied

SET_KEYS = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (or AWS_BEARER_TOKEN_BEDROCK)"
ADVICE = f"{SET_KEYS}, or install judge-service[aws] for profiles, SSO and roles"

CONTAINER_VARIABLES = (
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
)
"""Variables with the address of a container's credentials endpoint, also set with SnapStart."""

REOPEN_AFTER_S = 1.0
"""A session younger than this is not opened again, so that a thousand refused calls open one."""


class Credentials(Struct, frozen=True):
    """Credentials that sign requests. The `repr` shows the access key only."""

    access_key: str
    secret_key: str
    token: str | None = None

    def __repr__(self) -> str:
        return f"Credentials({self.access_key[:4]}...)"


class ApiKey(Struct, frozen=True):
    """A Bedrock API key, sent as a bearer token instead of a signature."""

    token: str

    def __repr__(self) -> str:
        return "ApiKey(...)"


Identity = Credentials | ApiKey
Service = Literal["bedrock", "sagemaker"]


class IdentitySource(Protocol):
    """Gives the identity for a call. It is called before every call, so it must be fast."""

    async def get(self) -> Identity:
        """The present identity. Raises CredentialsError."""
        ...

    async def renew(self, refused: Identity) -> Identity:
        """A new identity to replace `refused`, which has expired. Raises CredentialsError."""
        ...

    async def region(self) -> str:
        """The region to call. Raises Denied if there is none."""
        ...


def region_in(environ: Mapping[str, str]) -> str | None:
    """The region in the environment; boto reads the second variable only."""
    return environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION") or None


def identity_in(environ: Mapping[str, str], service: Service = "bedrock") -> Identity | None:
    """The identity in the environment; an API key has precedence, as in boto."""
    token = environ.get("AWS_BEARER_TOKEN_BEDROCK")
    if token and service == "bedrock":
        return ApiKey(token)
    access_key, secret_key = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
    if access_key and secret_key:
        return Credentials(access_key, secret_key, environ.get("AWS_SESSION_TOKEN") or None)
    return None


class Environment:
    """Credentials from environment variables, which another process or thread may renew in place."""

    def __init__(
        self, environ: Mapping[str, str], region: str | None, service: Service = "bedrock"
    ) -> None:
        self._environ = environ
        self._region = region
        self._service: Service = service
        self._identity = identity_in(environ, service)

    def __repr__(self) -> str:
        if isinstance(self._identity, ApiKey):
            return "credentials from AWS_BEARER_TOKEN_BEDROCK (API key, not signed)"
        return "credentials from AWS_ACCESS_KEY_ID in the environment"

    async def get(self) -> Identity:
        if self._identity is None:
            raise CredentialsError(f"there are no AWS credentials in the environment: {ADVICE}")
        return self._identity

    async def renew(self, refused: Identity) -> Identity:
        self._identity = identity_in(self._environ, self._service)
        if self._identity == refused:
            raise CredentialsError(
                f"{self!r} have expired: renew them and start again, or use a role or profile,"
                " which renew themselves"
            )
        return await self.get()

    async def region(self) -> str:
        return self._region or no_region(self._service)


class Session:
    """Credentials from an aioboto3 session, which renews them before they expire.

    The first call opens the session in a thread, because that reads files. `renew` opens a new one; one
    session serves all refused calls.
    """

    def __init__(
        self, profile: str | None, region: str | None, service: Service = "bedrock"
    ) -> None:
        self._profile = profile
        self._service: Service = service
        self._region = region
        self._credentials: Any = None
        self._opened_at = -REOPEN_AFTER_S
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        where = f"profile {self._profile}" if self._profile else "the default chain"
        return f"credentials from an aioboto3 session ({where})"

    async def get(self) -> Identity:
        if self._credentials is None:
            async with self._lock:
                if self._credentials is None:
                    await self._open()
        try:
            frozen = await self._credentials.get_frozen_credentials()
        except Exception as problem:  # botocore has many: expired SSO, no network, broken process
            raise CredentialsError(f"{self!r} cannot be refreshed: {problem}") from problem
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token)

    async def renew(self, refused: Identity) -> Identity:
        async with self._lock:
            unchanged = self._credentials is None or await self.get() == refused
            if unchanged and self._age_s() >= REOPEN_AFTER_S:
                await self._open()
        identity = await self.get()
        if identity == refused:
            raise CredentialsError(f"{self!r} have expired: renew them (`aws sso login`?)")
        return identity

    async def region(self) -> str:
        if self._region is None:
            await self.get()
        return self._region or no_region(self._service)

    def _age_s(self) -> float:
        return asyncio.get_running_loop().time() - self._opened_at

    async def _open(self) -> None:
        self._opened_at = asyncio.get_running_loop().time()
        session = await asyncio.to_thread(open_session, self._profile, self._region)
        try:
            self._credentials = await session.get_credentials()
        except Exception as problem:  # see `get`
            raise CredentialsError(f"{self!r} are not available: {problem}") from problem
        self._region = self._region or session.region_name
        if self._credentials is None:
            raise CredentialsError(
                f"there are no AWS credentials: {SET_KEYS}, or log in to a profile, SSO or a role"
            )


def open_session(
    profile: str | None, region: str | None, credentials: Credentials | None = None
) -> Any:
    """Opens an aioboto3 session. It reads files: do not call it on the loop. Raises CredentialsError."""
    try:
        aioboto3 = importlib.import_module("aioboto3")  # optional, 0.4 s, and without types
    except ImportError:
        raise CredentialsError(
            "aioboto3 is not installed: pip install judge-service[aws],"
            " or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None
    try:
        if credentials is None:
            return aioboto3.Session(profile_name=profile, region_name=region)
        return aioboto3.Session(
            credentials.access_key,
            credentials.secret_key,
            credentials.token,
            region_name=region,
        )
    except Exception as problem:  # ProfileNotFound, an unreadable config file
        raise CredentialsError(f"the AWS session cannot be opened: {problem}") from problem


def no_region(service: Service) -> str:
    """Raises Denied with the settings that name a region."""
    raise Denied(f"no AWS region is set: set {service}.region or AWS_REGION")
