"""Bedrock over aioboto3: the reference implementation, for users who need AWS's own client.

It costs ten times the CPU of `backend.py`. An older boto that does not know a field (`outputConfig`) refuses
it before sending; that counts as the model's refusal of the channel.
"""

import asyncio
import importlib
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

from msgspec.structs import replace

from judge_service.aws.credentials import (
    Credentials,
    identity_in,
    open_session,
    region_in,
)
from judge_service.aws.refusal import Refusal, bare
from judge_service.backends.bedrock.backend import BedrockStatistics
from judge_service.backends.bedrock.converse import (
    CHANGES,
    body_of,
    channels_of,
    completion_of,
    convert_reply,
)
from judge_service.backends.bedrock.errors import error_of, kind_of
from judge_service.backends.request_form import Changes, RequestForm, described
from judge_service.errors import CallError, CredentialsError, Denied
from judge_service.flow import Request
from judge_service.http.client import proxy_url_of, read_certificates
from judge_service.http.descriptors import bounded
from judge_service.http.failures import broken, printable, timed_out, unreachable, unreadable
from judge_service.http.json_body import encode_body
from judge_service.http.reply import Reply
from judge_service.http.transport import time_left
from judge_service.redaction import hide_in
from judge_service.settings import BedrockSettings, HttpSettings
from judge_service.values import Channel, Completion, Prompt

_SECRETS = ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK")
_UNREACHABLE = {"ConnectTimeoutError", "ProxyConnectionError", "SSLError"}
_NO_CREDENTIALS = {
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "TokenRetrievalError",
    "NoAuthTokenError",
    "SSOError",
    "SSOTokenLoadError",
    "UnauthorizedSSOTokenError",
}


class BedrockSdk:
    """One model in one region, called by an aioboto3 client that makes one attempt.

    environ: credentials and region, used if `bedrock` names no profile and no region.
    max_connections: size of aiohttp's pool, clipped to the available file descriptors; boto's default
        is 10.

    `http.ca_file` replaces the system's roots here, as it does in boto; in `backend.py` it adds to them.
    """

    def __init__(
        self,
        model: str,
        *,
        bedrock: BedrockSettings,
        http: HttpSettings,
        environ: Mapping[str, str],
        max_connections: int,
    ) -> None:
        self.model = model
        self.channels: tuple[Channel, ...] = channels_of(model)
        self._bedrock = bedrock
        self._http = http
        self._environ = environ
        self._max_connections = bounded(max_connections)
        self._region = bedrock.region or region_in(environ)
        self._client: Any = None
        self._opening = asyncio.Lock()
        self._closing = AsyncExitStack()
        self._form = RequestForm(*CHANGES)
        self._calls = self._completions = 0

    def __repr__(self) -> str:
        where = self._bedrock.endpoint_url or self._region or "region not read yet"
        return f"BedrockSdk({self.model}, {where}, aioboto3, {self._max_connections} connections)"

    def statistics(self) -> BedrockStatistics:
        return BedrockStatistics(self._calls, self._completions, renewals=0)

    async def __call__(self, request: Request[Prompt]) -> Completion:
        """Makes one call. Raises CallError."""
        self._calls += 1
        client = self._client or await self._open()
        prompt, changes = request.body, self._form.changes
        while True:
            try:
                reply = await self._converse(client, request, changes)
                break
            except _boto_errors() as problem:
                change = self._form.next_change(prompt, changes, _refusal_of(problem))
                if change is None:
                    raise self._error_of(problem, prompt.channel) from problem
                changes |= {change}
        completion = completion_of(convert_reply(reply), prompt, self.model)
        if changes:
            self._form.keep(changes)
            completion = replace(completion, asked=described(changes))
        self._completions += 1
        return completion

    async def _converse(self, client: Any, request: Request[Prompt], changes: Changes) -> Any:
        body = body_of(request.body, self.model, changes=changes)
        encode_body(body)  # refuses lone surrogates, which boto would escape and send
        timeout_s, at_deadline = time_left(request, self._http.call_timeout_s)
        request.sent_at = asyncio.get_running_loop().time()  # boto does not say when it sends
        try:
            async with asyncio.timeout(timeout_s):
                return await client.converse(modelId=self.model, **body)
        except TimeoutError as problem:
            raise timed_out(timeout_s, at_deadline=at_deadline) from problem
        except (ValueError, TypeError, LookupError, AttributeError) as problem:
            # boto's parser trusts the types of its model
            raise unreadable(f"boto cannot parse it ({type(problem).__name__})") from problem

    async def aclose(self) -> None:
        self._client = None
        await self._closing.aclose()

    async def _open(self) -> Any:
        async with self._opening:
            if self._client is None:
                self._client = await self._new_client()
        return self._client

    async def _new_client(self) -> Any:
        profile = self._bedrock.profile
        found = None if profile else identity_in(self._environ)
        session = await asyncio.to_thread(
            open_session,
            profile or (None if found else self._environ.get("AWS_PROFILE")),
            self._region,
            found if isinstance(found, Credentials) else None,
        )
        self._region = session.region_name
        if self._region is None:
            raise Denied("no AWS region is set: set bedrock.region or AWS_REGION")
        if ca_file := self._http.ca_file:
            await asyncio.to_thread(read_certificates, ca_file)  # for its errors
        opened = session.client(
            "bedrock-runtime",
            endpoint_url=self._bedrock.endpoint_url,
            config=self._config(),
            verify=ca_file,
        )
        return await self._closing.enter_async_context(opened)

    def _config(self) -> Any:
        proxy_url = proxy_url_of(self._http)
        config = importlib.import_module("aiobotocore.config")
        return config.AioConfig(
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=self._max_connections,
            connect_timeout=self._http.connect_timeout_s,
            read_timeout=self._http.call_timeout_s,
            # `None` would be the environment's proxies
            proxies={"http": proxy_url, "https": proxy_url} if proxy_url else {},
            http_session_cls=_verifying_session(),
        )

    def _error_of(self, problem: Exception, channel: Channel) -> CallError:
        """Maps botocore's exceptions to our errors."""
        secrets = [self._environ.get(name, "") for name in _SECRETS]
        name, said = type(problem).__name__, printable(hide_in(str(problem), secrets))
        response = getattr(problem, "response", None)
        if isinstance(response, Mapping):
            refusal = refusal_of(response, secrets)
            return error_of(refusal, self.model, self._region or "")
        if name == "ParamValidationError":
            return Denied(f"boto refuses the call ({said})", unsupported_channel=channel != "text")
        if name in _NO_CREDENTIALS:
            return CredentialsError(f"there are no usable AWS credentials ({said})")
        if name in _UNREACHABLE or _not_connected(problem):
            return unreachable(said)
        if name == "ReadTimeoutError":
            return timed_out(self._http.call_timeout_s, at_deadline=False)
        return broken(said)


def _verifying_session() -> Any:
    """Aiobotocore's HTTP session with verification of the server's name.

    aiobotocore 2.25 never checks the name in a certificate, because boto leaves that to urllib3, which is not
    used here; behind a proxy it checks no certificate at all. Tests check this.
    """
    session: Any = importlib.import_module("aiobotocore.httpsession").AIOHTTPSession

    class VerifyingSession(session):  # type: ignore[misc]  # boto has no types
        def _get_ssl_context(self) -> Any:
            context = super()._get_ssl_context()
            context.check_hostname = True
            return context

        def _setup_proxy_ssl_context(self, _proxy_url: str) -> Any:
            return self._get_ssl_context()

    return VerifyingSession


def _not_connected(problem: Exception) -> bool:
    """Whether no connection was made: aiobotocore raises `EndpointConnectionError` for resets too."""
    cause = getattr(problem, "kwargs", {}).get("error")
    return any(kind.__name__ in {"ClientConnectorError", "gaierror"} for kind in type(cause).mro())


def _boto_errors() -> tuple[type[Exception], ...]:
    exceptions = importlib.import_module("botocore.exceptions")
    return (exceptions.BotoCoreError, exceptions.ClientError)


def _refusal_of(problem: Exception) -> str:
    """What an error of boto says that refuses the request."""
    response = getattr(problem, "response", None)
    if not isinstance(response, Mapping):
        return ""
    refusal = refusal_of(response)
    return refusal.message if kind_of(refusal) == "invalid" else ""


def refusal_of(response: Mapping[str, Any], secrets: Sequence[str] = ()) -> Refusal:
    """A botocore `ClientError.response` as the refusal that `backend.py` would read, `secrets` hidden."""
    error, metadata = response.get("Error", {}), response.get("ResponseMetadata", {})
    reply = Reply(metadata.get("HTTPStatusCode", 0), metadata.get("HTTPHeaders", {}), b"")
    original = response.get("originalStatusCode")
    return Refusal(
        status=reply.status,
        code=bare(hide_in(str(error.get("Code") or ""), secrets)),
        message=printable(hide_in(str(error.get("Message") or ""), secrets)),
        original_status=original if isinstance(original, int) else None,
        retry_after_s=reply.retry_after_s(),
    )
