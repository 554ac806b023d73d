"""A client for AWS services other than the judge, without an SDK."""

import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import msgspec
from msgspec import Struct

from judge_service.aws.credentials import ApiKey, Identity
from judge_service.aws.identity_source import identity_source
from judge_service.aws.sigv4 import sign
from judge_service.errors import CredentialsError
from judge_service.http.reply import Reply
from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings

CALL_TIMEOUT_S = 5.0
"""Limit of one call. Services answer within tens of milliseconds; a cold one may take a second."""

MAX_CONNECTIONS = 16

_EXPIRED = (b"ExpiredToken", b"RequestExpired")
_API_KEY = "AWS_BEARER_TOKEN_BEDROCK"


class AwsRequest(Struct, frozen=True, kw_only=True):
    """An unsigned request to a service.

    service: its name in host names and signatures (`ssm`, `sqs`, `dynamodb`).
    url: percent-encoded once, without a query, as S3 requires for signatures.
    headers: names in lower case.
    """

    service: str
    url: str
    method: str = "POST"
    headers: Mapping[str, str] = {}
    body: bytes = b""


class AwsClient:
    """Calls services with the credentials of the environment.

    environ: holds credentials, region and `AWS_ENDPOINT_URL_<SERVICE>`. A Bedrock API key in it is ignored,
        because no other service accepts it.
    region: replaces the environment's.
    now: wall clock for signatures, seconds since 1970.

    The constructor reads certificates: call it in a thread or at the start. It belongs to one event loop.
    """

    def __init__(
        self,
        environ: Mapping[str, str],
        *,
        region: str | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._environ = {name: text for name, text in environ.items() if name != _API_KEY}
        self._identities = identity_source(self._environ, region=region)
        self._transport = HttpTransport(HttpSettings(), MAX_CONNECTIONS)
        self._now = now

    def __repr__(self) -> str:
        return f"AwsClient({self._identities!r}, {self._transport!r})"

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._transport.aclose()

    async def call(
        self, service: str, target: str, body: Mapping[str, Any], *, version: str = "1.0"
    ) -> Reply:
        """Calls an operation of a service with AWS's JSON protocol, such as `AmazonSSM.GetParameter`.

        version: of the protocol, `1.0` or `1.1`.

        Returns the reply of any status. Raises CallError.
        """
        headers = {
            "content-type": f"application/x-amz-json-{version}",
            "x-amz-target": target,
        }
        url = await self._endpoint(service) + "/"
        encoded = msgspec.json.encode(body)
        return await self._send(AwsRequest(service=service, url=url, headers=headers, body=encoded))

    async def object(self, bucket: str, key: str) -> Reply:
        """S3's reply with an object, or with an error. Raises CallError."""
        url = await self._object_url(bucket, quote(key, safe="/~"))
        return await self._send(AwsRequest(service="s3", url=url, method="GET"))

    async def _object_url(self, bucket: str, path: str) -> str:
        endpoint = await self._endpoint("s3")
        if self._override("s3") or not bucket.replace("-", "").isalnum():
            return f"{endpoint}/{bucket}/{path}"  # no certificate covers a bucket with a dot as a host name
        return f"{endpoint.replace('://', f'://{bucket}.')}/{path}"

    async def _endpoint(self, service: str) -> str:
        if override := self._override(service):
            return override.rstrip("/")
        region = await self._identities.region()
        domain = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
        return f"https://{service}.{region}.{domain}"

    def _override(self, service: str) -> str | None:
        by_service = self._environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
        return by_service or self._environ.get("AWS_ENDPOINT_URL") or None

    async def _send(self, request: AwsRequest) -> Reply:
        identity = await self._identities.get()
        reply = await self._send_as(identity, request)
        if reply.status in (400, 401, 403) and any(code in reply.body for code in _EXPIRED):
            return await self._send_as(await self._identities.renew(identity), request)
        return reply

    async def _send_as(self, identity: Identity, request: AwsRequest) -> Reply:
        if isinstance(identity, ApiKey):
            raise CredentialsError(f"a Bedrock API key cannot sign a call to {request.service}")
        signed = sign(
            request.method,
            request.url,
            request.headers,
            request.body,
            identity,
            region=await self._identities.region(),
            service=request.service,
            now_s=self._now(),
        )
        if request.method == "GET":
            return await self._transport.get(request.url, signed, CALL_TIMEOUT_S)
        return await self._transport.post(request.url, signed, request.body, CALL_TIMEOUT_S)
