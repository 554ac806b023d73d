"""AWS Signature Version 4: `Signer` for many posts to one URL, `sign` for any single request.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
`Signer` is fast because it keeps everything that does not depend on the body or the time. It percent-encodes
the path twice, once for the URL and once more for the canonical request: the `:` of a model id is `%3A` on
the wire and `%253A` in the signed text. `tests/aws/test_sigv4.py` compares both with botocore's signatures.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from judge_service.aws.credentials import Credentials

CONTENT_TYPE = "application/json"
_ALGORITHM = "AWS4-HMAC-SHA256"
_BLOCK_BYTES = 64
NO_HEADERS: Mapping[str, str] = {}


def _hmac(key: bytes, message: str) -> bytes:
    return hmac.digest(key, message.encode(), "sha256")


def signing_key(secret_key: str, date: str, region: str, service: str) -> bytes:
    """The signing key of one day, region and service. date: `YYYYMMDD`."""
    key = _hmac(f"AWS4{secret_key}".encode(), date)
    return _hmac(_hmac(_hmac(key, region), service), "aws4_request")


class KeyedHash:
    """HMAC-SHA-256 (RFC 2104) of many messages with one key.

    The key is hashed once and the two states are copied for each message.
    """

    def __init__(self, key: bytes) -> None:
        block = key.ljust(_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))

    def hexdigest(self, message: bytes) -> str:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.hexdigest()


class Signer:
    """Signs JSON posts to one URL. It keeps the key of the last day and credentials."""

    def __init__(self, url: str, region: str, service: str) -> None:
        parts = urlsplit(url)
        self.region = region
        self._service = service
        self._head = (
            f"POST\n{quote(parts.path, safe='/~')}\n{parts.query}\n"
            f"content-type:{CONTENT_TYPE}\nhost:{_host(url)}\nx-amz-date:"
        )
        self._scope = ""
        self._key = KeyedHash(b"")
        self._key_for = ("", "")
        self._second = -1
        self._stamp = ""

    def __repr__(self) -> str:
        return f"Signer({self._service} in {self.region})"

    def sign(
        self,
        body: bytes,
        credentials: Credentials,
        now_s: float,
        more: Mapping[str, str] = NO_HEADERS,
    ) -> dict[str, str]:
        """The headers to send with `body`.

        now_s: wall-clock time, seconds since 1970.
        more: further headers to sign and send: lower case, sorted, all after `x-amz-security-token`, and
            without white space at the ends.
        """
        stamp = self._stamp_of(int(now_s))
        key = self._key_of(credentials, stamp[:8])
        headers = {"content-type": CONTENT_TYPE, "x-amz-date": stamp}
        names, lines = "content-type;host;x-amz-date", ""
        if credentials.token:
            headers["x-amz-security-token"] = credentials.token
            names += ";x-amz-security-token"
            lines = f"x-amz-security-token:{credentials.token}\n"
        for name, value in more.items():
            headers[name] = value
            names += f";{name}"
            lines += f"{name}:{value}\n"
        payload = hashlib.sha256(body).hexdigest()
        canonical = f"{self._head}{stamp}\n{lines}\n{names}\n{payload}"
        headers["authorization"] = _authorization(
            key, credentials, self._scope, stamp, names=names, canonical=canonical
        )
        return headers

    def _stamp_of(self, second: int) -> str:
        if second != self._second:
            self._stamp = _stamp_of(second)
            self._second = second
        return self._stamp

    def _key_of(self, credentials: Credentials, date: str) -> KeyedHash:
        if self._key_for != (credentials.secret_key, date):
            key = signing_key(credentials.secret_key, date, self.region, self._service)
            self._key = KeyedHash(key)
            self._key_for = (credentials.secret_key, date)
            self._scope = f"{date}/{self.region}/{self._service}/aws4_request"
        return self._key


def sign(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    credentials: Credentials,
    *,
    region: str,
    service: str,
    now_s: float,
) -> dict[str, str]:
    """The headers of one request, all signed, including those that a signature adds.

    url: percent-encoded once, without a query; its path is signed unchanged, as S3 requires.
    headers: names in lower case.
    now_s: wall clock, seconds since 1970.
    """
    stamp = _stamp_of(now_s)
    payload = hashlib.sha256(body).hexdigest()
    signed = {**headers, "x-amz-date": stamp, "x-amz-content-sha256": payload}
    if credentials.token:
        signed["x-amz-security-token"] = credentials.token
    parts = urlsplit(url)
    lines = dict(sorted({**signed, "host": parts.netloc}.items()))
    names = ";".join(lines)
    listed = "".join([f"{name}:{value}\n" for name, value in lines.items()])
    canonical = f"{method}\n{parts.path}\n\n{listed}\n{names}\n{payload}"
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    key = KeyedHash(signing_key(credentials.secret_key, stamp[:8], region, service))
    signed["authorization"] = _authorization(
        key, credentials, scope, stamp, names=names, canonical=canonical
    )
    return signed


def _authorization(
    key: KeyedHash, credentials: Credentials, scope: str, stamp: str, *, names: str, canonical: str
) -> str:
    """The `Authorization` header that signs a canonical request."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    signature = key.hexdigest(f"{_ALGORITHM}\n{stamp}\n{scope}\n{digest}".encode())
    return (
        f"{_ALGORITHM} Credential={credentials.access_key}/{scope},"
        f" SignedHeaders={names}, Signature={signature}"
    )


def _stamp_of(now_s: float) -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now_s))


def _host(url: str) -> str:
    """The `Host` header for `url`; the scheme's default port is omitted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    name = f"[{host}]" if ":" in host else host
    standard = {"http": 80, "https": 443}.get(parts.scheme)
    return name if parts.port in (None, standard) else f"{name}:{parts.port}"
