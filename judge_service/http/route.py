"""The origin of a URL and the fixed part of its requests' heads, parsed once and kept."""

import re
from base64 import b64decode, b64encode
from collections.abc import Mapping
from urllib.parse import SplitResult, quote, unquote, urlsplit

from msgspec import Struct

from judge_service.errors import CredentialsError
from judge_service.http.failures import unreachable

USER_AGENT = "judge-service"
_PORTS = {"http": 80, "https": 443}
_PROXY_AUTHORIZATION = re.compile(r"^proxy-authorization: Basic (\S+)\r$", re.MULTILINE)
_IN_URLS = "%/?:@!$&'()*+,;=~[]"


class Origin(Struct, frozen=True):
    """The server of a connection. Connections to equal origins are interchangeable."""

    scheme: str
    host: str
    port: int

    @property
    def netloc(self) -> str:
        """Host and port in the form of CONNECT."""
        return f"{_bracketed(self.host)}:{self.port}"


class Route(Struct, frozen=True):
    """An origin, and the part of the head that all requests to one URL share."""

    origin: Origin
    head: str

    def request(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """Writes a whole request. Raises CredentialsError for a header with a line break or without ASCII.

        The names are ours; values may hold credentials, which come from outside.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        count = len(headers)
        if not lines.isascii() or lines.count("\n") != count or lines.count("\r") != count:
            raise CredentialsError(
                f"a header to the judge ({_culprit(headers)}) would hold a line break or a character"
                " that is not ASCII: check the key or the credentials for one"
            )
        return f"{self.head}{lines}content-length: {len(body)}\r\n\r\n".encode("ascii") + body


def route_of(url: str, proxy: SplitResult | None, method: str = "POST") -> Route:
    """The route of a URL; a proxy gets plain HTTP requests whole. Raises Unavailable if it is not a URL."""
    try:
        parts = urlsplit(url)
    except ValueError as problem:
        raise unreachable("its address is not a URL") from problem
    origin = origin_of(parts)
    standard = origin.port == _PORTS[parts.scheme]
    host = _bracketed(origin.host) if standard else origin.netloc
    target = quote(parts.path or "/", safe=_IN_URLS)
    if parts.query:
        target += "?" + quote(parts.query, safe=_IN_URLS)
    permission = ""
    if proxy is not None and parts.scheme == "http":
        origin, target = origin_of(proxy), f"http://{host}{target}"
        permission = authorization(proxy)
    return Route(
        origin,
        f"{method} {target} HTTP/1.1\r\nhost: {host}\r\nuser-agent: {USER_AGENT}\r\n"
        f"accept: */*\r\naccept-encoding: identity\r\n{permission}",
    )


def origin_of(parts: SplitResult) -> Origin:
    """The origin of a URL. Raises Unavailable."""
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
    if not host or parts.scheme not in _PORTS or not host.isprintable() or not host.isascii():
        raise unreachable("its address is not an http:// or https:// URL")
    return Origin(parts.scheme, host, port or _PORTS[parts.scheme])


def authorization(proxy: SplitResult) -> str:
    """The header line with a proxy's credentials, `""` if its URL has none."""
    if proxy.username is None:
        return ""
    named = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return f"proxy-authorization: Basic {b64encode(named.encode()).decode()}\r\n"


def secrets_of(headers: Mapping[str, str], head: str = "") -> list[bytes]:
    """What must not be told of a request's headers. head: see `Route`; it may hold a proxy's credentials."""
    found = [headers.get("x-amz-security-token", "")]
    scheme, space, rest = headers.get("authorization", "").partition(" ")
    if scheme == "AWS4-HMAC-SHA256":
        rest = rest.rpartition("Signature=")[2]
    found.append(rest if space else scheme)
    if basic := _PROXY_AUTHORIZATION.search(head):
        found += [basic[1], b64decode(basic[1]).decode().partition(":")[2]]
    return [secret.encode() for secret in found if secret]


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _culprit(headers: Mapping[str, str]) -> str:
    """The name of the first invalid header; its value is not shown."""
    return next(
        (name for name, value in headers.items() if not (value.isascii() and value.isprintable())),
        "its name",
    )
