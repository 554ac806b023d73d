"""Verifies AWS Signature Version 4; written from the AWS documentation.

As for every service except S3, the path is encoded once more before it is signed (`%3A` becomes `%253A`).
Source: docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from urllib.parse import parse_qsl, quote

from msgspec import Struct

from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.faults import ApiError
from judge_service.simulator.protocol import HttpRequest

ALGORITHM = "AWS4-HMAC-SHA256"
AUTHORIZATION = re.compile(
    rf"{ALGORITHM} +Credential=([^/, ]+)/(\d{{8}})/([^/, ]+)/([^/, ]+)/aws4_request"
    r" *, *SignedHeaders=([a-z0-9;_-]+) *, *Signature=([0-9a-f]{64})"
)
SPACES = re.compile(r" +")


class Credential(Struct, frozen=True):
    """The parts of an `Authorization` header."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


def authorise(
    request: HttpRequest, config: SimulatorConfig, now_s: float, service: str = "bedrock"
) -> None:
    """Checks a request's credentials as the configuration asks for.

    now_s: wall clock, seconds since 1970. service: the one that the request must be signed for; only
    Bedrock accepts a bearer token instead.

    Raises ApiError 403 with the code of Bedrock and SageMaker:
    `MissingAuthenticationTokenException`, `UnrecognizedClientException`, `InvalidSignatureException`,
    `AccessDeniedException`.
    """
    token = config.bearer_token if service == "bedrock" else ""
    if not (config.verify_sigv4 or token):
        return
    authorization = request.headers.get("authorization", "")
    if token and authorization.startswith("Bearer "):
        check_bearer(authorization, token)
    elif config.verify_sigv4 and authorization:
        credential = _read_authorization(authorization)
        _check_identity(request, credential, config, service)
        _verify(request, credential, config, now_s)
    else:
        raise ApiError(403, "MissingAuthenticationTokenException", "Missing Authentication Token")


def check_bearer(authorization: str, token: str) -> None:
    """Raises ApiError 403 unless the header holds the token."""
    if not hmac.compare_digest(authorization.encode(), f"Bearer {token}".encode()):
        raise ApiError(403, "AccessDeniedException", "Authentication failed: the key is not valid.")


def _verify(
    request: HttpRequest, credential: Credential, config: SimulatorConfig, now_s: float
) -> None:
    date = _check_date(request, credential, config, now_s)
    scope = f"{credential.date}/{credential.region}/{credential.service}/aws4_request"
    canonical = canonical_request(request, credential.signed_headers)
    to_sign = "\n".join((ALGORITHM, date, scope, _sha256(canonical.encode("latin-1"))))
    key = signing_key(config.secret_key, credential.date, credential.region, credential.service)
    expected = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    if not hmac.compare_digest(expected, credential.signature):
        raise _invalid(
            "The request signature we calculated does not match the signature you provided."
            " Check your AWS Secret Access Key and signing method."
            " Consult the service documentation for details."
        )


def _read_authorization(authorization: str) -> Credential:
    found = AUTHORIZATION.fullmatch(authorization)
    if found is None:
        raise ApiError(
            403,
            "IncompleteSignatureException",
            "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'.",
        )
    access_key, date, region, service, signed, signature = found.groups()
    return Credential(access_key, date, region, service, tuple(signed.split(";")), signature)


def _check_identity(
    request: HttpRequest, credential: Credential, config: SimulatorConfig, service: str
) -> None:
    token = request.headers.get("x-amz-security-token", "")
    if credential.access_key != config.access_key or token != config.session_token:
        raise ApiError(
            403,
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        )
    if (credential.service, credential.region) != (service, config.region):
        raise _invalid(
            f"Credential should be scoped to service '{service}' and region '{config.region}'."
        )
    must = {"host", "x-amz-date"} | {n for n in request.headers if n.startswith("x-amz-")}
    if missing := sorted(must - set(credential.signed_headers)):
        raise _invalid(f"The headers {', '.join(missing)} must be signed.")


def _check_date(
    request: HttpRequest, credential: Credential, config: SimulatorConfig, now_s: float
) -> str:
    date = request.headers.get("x-amz-date", "")
    try:
        signed_at = datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _invalid(
            "The request needs an 'X-Amz-Date' header of the form 20261121T082947Z."
        ) from None
    if not date.startswith(credential.date):
        raise _invalid("Date in Credential scope does not match YYYYMMDD from the request's date.")
    now = datetime.fromtimestamp(now_s, UTC)
    skew_s = (signed_at - now).total_seconds()
    if abs(skew_s) > config.max_clock_skew_s:
        compared = "not yet current" if skew_s > 0 else "expired"
        raise _invalid(f"Signature {compared}: {date} against {now:%Y%m%dT%H%M%SZ}.")
    return date


def canonical_request(request: HttpRequest, signed_headers: tuple[str, ...]) -> str:
    """The request in the canonical form that client and server hash."""
    path, _, query = request.target.partition("?")
    return "\n".join(
        (
            request.method,
            quote(path, safe="/-_.~"),
            _canonical_query(query),
            *(f"{name}:{_canonical_value(request.headers, name)}" for name in signed_headers),
            "",
            ";".join(signed_headers),
            _sha256(request.body),
        )
    )


def _canonical_query(query: str) -> str:
    pairs = parse_qsl(query, keep_blank_values=True)
    return "&".join(sorted(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in pairs))


def _canonical_value(headers: Mapping[str, str], name: str) -> str:
    return SPACES.sub(" ", headers.get(name, "").strip())


@lru_cache(maxsize=64)
def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The signing key of one day, region and service."""
    key = f"AWS4{secret_key}".encode()
    for part in (date, region, service, "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return key


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _invalid(message: str) -> ApiError:
    return ApiError(403, "InvalidSignatureException", message)
