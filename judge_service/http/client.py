"""Opens connections: TLS, trusted certificates, proxy."""

import asyncio
import errno
import os
import re
import ssl
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

from judge_service.errors import CallError, SettingsError
from judge_service.http.connection import Connection
from judge_service.http.failures import exhausted, unreachable, untrusted
from judge_service.http.route import Origin, authorization, origin_of
from judge_service.settings import HttpSettings

_CERTIFICATE = b"-----BEGIN CERTIFICATE-----"
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE)
_EYEBALLS_DELAY_S = 0.25
"""How long one address of a host is tried before the next one is tried too (RFC 8305)."""

_READ_BYTES = 65_536
"""Most bytes of one read, and so the most by which a reply can exceed its limit."""

_MAX_PROXY_HEAD_BYTES = 65_536


class HttpClient:
    """Opens connections to the given origins only; the environment cannot redirect them.

    Certificates are verified against the system's roots, or those of `SSL_CERT_FILE`, and those of
    `http.ca_file`. The minimum is TLS 1.2. A proxy is used only if `http.proxy_url` names one.

    The system's certificates are read before the first TLS connection, in a thread; those of
    `http.ca_file` at once. Raises SettingsError for a CA file or a proxy that cannot be used.
    """

    def __init__(self, http: HttpSettings) -> None:
        self._http = http
        proxy_url = proxy_url_of(http)
        self.proxy = urlsplit(proxy_url) if proxy_url else None
        self._tls: ssl.SSLContext | None = open_context(http) if http.ca_file else None
        self._reading = asyncio.Lock()
        self._buffer = memoryview(bytearray(_READ_BYTES))

    def __repr__(self) -> str:
        return (
            f"HttpClient({shown(proxy_url) if (proxy_url := self._http.proxy_url) else 'direct'})"
        )

    async def connect(self, origin: Origin, until: float) -> Connection:
        """Opens a connection within `http.connect_timeout_s`, at most until the loop's time `until`.

        Raises Unavailable, uncharged: nothing was sent.
        """
        limit_s = self._http.connect_timeout_s
        until = min(until, asyncio.get_running_loop().time() + limit_s)
        try:
            async with asyncio.timeout_at(until):
                return await self._open(origin)
        except ssl.SSLCertVerificationError as problem:
            raise untrusted(problem.verify_message) from problem
        except TimeoutError as problem:
            raise unreachable(str(problem) or f"no connection within {limit_s:g} s") from problem
        except (OSError, UnicodeError) as problem:
            raise _not_connected(problem) from problem

    async def _open(self, origin: Origin) -> Connection:
        if self.proxy is not None and origin.scheme == "https":
            return await self._tunnel(self.proxy, origin)
        connection: Connection
        _, connection = await self._dial(origin, self._connection)
        return connection

    async def _trust(self) -> ssl.SSLContext:
        """The TLS context. Reading certificates takes 25 ms, so it is done once and only for TLS."""
        async with self._reading:  # the first connections arrive at the same time
            if self._tls is None:
                self._tls = await asyncio.to_thread(open_context, self._http)
            return self._tls

    def _connection(self) -> Connection:
        return Connection(self._buffer, self._http.max_reply_bytes, self._http.idle_timeout_s)

    async def _dial(self, origin: Origin, protocol: Any) -> tuple[Any, Any]:
        loop = asyncio.get_running_loop()
        connect: Any = loop.create_connection
        if isinstance(loop, asyncio.BaseEventLoop):  # uvloop tries the addresses one by one
            connect = partial(connect, happy_eyeballs_delay=_EYEBALLS_DELAY_S)
        secure = await self._trust() if origin.scheme == "https" else None
        made: tuple[Any, Any] = await connect(protocol, origin.host, origin.port, ssl=secure)
        return made

    async def _tunnel(self, proxy: SplitResult, origin: Origin) -> Connection:
        """TLS to the judge inside the proxy's tunnel."""
        loop = asyncio.get_running_loop()
        transport, tunnel = await self._dial(origin_of(proxy), _Tunnel)
        try:
            line = f"CONNECT {origin.netloc} HTTP/1.1\r\nhost: {origin.netloc}\r\n"
            transport.write(f"{line}{authorization(proxy)}\r\n".encode("ascii"))
            await tunnel.opened
            connection = self._connection()
            secured: Any = await loop.start_tls(
                transport, connection, await self._trust(), server_hostname=origin.host
            )
        except BaseException:
            transport.abort()
            raise
        connection.connection_made(secured)
        return connection


class _Tunnel(asyncio.Protocol):
    """Waits for a proxy's answer to CONNECT. `opened` is done when it accepts, or fails with OSError."""

    def __init__(self) -> None:
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""

    def data_received(self, data: bytes) -> None:
        self._head += data
        if self.opened.done():
            return
        head, end, rest = self._head.partition(b"\r\n\r\n")
        if not end and len(head) < _MAX_PROXY_HEAD_BYTES:
            return
        status = re.match(rb"HTTP/1\.[01] ([0-9]{3})(?![0-9])", head)
        if status and status[1].startswith(b"2") and end and not rest:
            self.opened.set_result(None)
        else:
            self._fail(_refusal(int(status[1]) if status else 0))

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the proxy closed the connection: {exc or 'no reason given'}")

    def _fail(self, why: str) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError(why))
            self.opened.exception()  # retrieved, because the caller may have gone


def _refusal(status: int) -> str:
    if status == 407:
        return "proxy authorization required: put user:password@ into http.proxy_url"
    return f"the proxy refuses with status {status}" if status else "the proxy does not speak HTTP"


def _not_connected(problem: Exception) -> CallError:
    """Our error for a connection that could not be opened."""
    said = str(problem)
    number = getattr(problem, "errno", None)
    if number in _NO_DESCRIPTOR or any(os.strerror(one) in said for one in _NO_DESCRIPTOR):
        return exhausted(said)
    return unreachable(said)


def open_context(http: HttpSettings) -> ssl.SSLContext:
    """The TLS context of the settings. Raises SettingsError for a CA file that cannot be used."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    with suppress(NotImplementedError):
        context.set_alpn_protocols(["http/1.1"])
    if http.ca_file:
        read_certificates(http.ca_file)
        try:
            context.load_verify_locations(cafile=http.ca_file)
        except OSError as problem:
            raise SettingsError(
                f"http.ca_file ({http.ca_file}) holds a certificate that cannot be read: {problem}"
            ) from problem
    return context


def proxy_url_of(http: HttpSettings) -> str | None:
    """The proxy in the settings. Raises SettingsError, whose message does not show the password."""
    proxy_url = http.proxy_url
    if proxy_url and shown(proxy_url) is None:
        raise SettingsError(
            "http.proxy_url is not a proxy: write http://host:port or https://host:port,"
            " with user:password@ before the host if it asks for them"
        )
    return proxy_url or None


def read_certificates(ca_file: str) -> bytes:
    """The PEM bytes of a CA file. It reads a file: do not call it on the loop. Raises SettingsError."""
    try:
        content = Path(ca_file).read_bytes()
    except OSError as problem:
        raise SettingsError(f"http.ca_file cannot be read: {problem}") from problem
    if _CERTIFICATE not in content:
        raise SettingsError(f"http.ca_file ({ca_file}) holds no certificate in PEM form")
    return content


def shown(proxy_url: str) -> str | None:
    """A proxy's URL without user and password, `None` if it is not a proxy's URL."""
    try:
        parts = urlsplit(proxy_url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    known = parts.scheme in {"http", "https"} and parts.hostname
    return f"{parts.scheme}://{parts.hostname}{port}" if known else None
