"""HTTP/1.1 on `asyncio.Protocol`: the part that a client of Bedrock needs.

It has keep-alive, pipelining (one request at a time, answers in order) and Content-Length bodies, but no
chunked requests (411) and no `Expect`. A general server costs several times the rest of the simulator.
"""

import asyncio
import re
import socket
import struct
from collections.abc import Callable, Mapping
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus

from msgspec import Struct

LINGER_S = 1.0
"""How long a refused client may go on sending. Closing at once would reset the connection, and the client
might lose the error that was sent."""
RESET = struct.pack("ii", 1, 0)
REQUEST_LINE = re.compile(r"([A-Z]+) (/[!-~]*) HTTP/1\.([01])")
HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
REASONS = {status.value: status.phrase for status in HTTPStatus}


class HttpRequest(Struct, frozen=True, gc=False):
    """One request. Header names are in lower case; repeated headers are joined by commas."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""


class Limits(Struct, frozen=True):
    """What a connection may send."""

    max_header_bytes: int
    max_body_bytes: int


class BadRequest(Exception):
    """The bytes are not an acceptable request; the connection ends with this status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


Application = Callable[[HttpRequest, "Connection"], None]
"""Gets one request and calls, now or later, one of the connection's methods that end it."""


def head(status: int, body_bytes: int, headers: str = "", date_s: float = 0.0) -> bytes:
    """The status line and headers of a JSON reply. `headers`: more header lines, each with CRLF."""
    return (
        f"HTTP/1.1 {status} {REASONS.get(status, 'Unknown')}\r\n"
        f"date: {_http_date(int(date_s))}\r\n"
        "content-type: application/json\r\n"
        f"content-length: {body_bytes}\r\n{headers}\r\n"
    ).encode("latin-1")


@lru_cache(maxsize=4)
def _http_date(date_s: int) -> str:
    return formatdate(date_s, usegmt=True)


class Connection(asyncio.Protocol):
    """A client's connection. It parses one request after the other and gives each to the application."""

    def __init__(
        self, application: Application, limits: Limits, connections: "set[Connection]"
    ) -> None:
        self._application = application
        self._limits = limits
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport
        self._buffer = bytearray()
        self._parsed: tuple[HttpRequest, int] | None = None
        self._busy = False
        self._advancing = False
        self._write_blocked = False
        self._client_ended = False
        self._keep_alive = True
        self._refused = False
        self._on_gone: Callable[[], None] | None = None
        self._linger: asyncio.TimerHandle | None = None
        self.last_heard_s = self._loop.time()

    # called by asyncio

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # tells the type checker
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self.last_heard_s = self._loop.time()
        if self._refused:
            return
        self._buffer += data
        if self._busy:
            if len(self._buffer) > self._limits.max_body_bytes + self._limits.max_header_bytes:
                self._transport.pause_reading()
            return
        self._advance()

    def eof_received(self) -> bool:
        """The client sends no more, but may still read pending replies."""
        self._client_ended = True
        self._tell_gone()
        owed = self._busy or self._write_blocked
        return owed and not self._transport.is_closing()

    def connection_lost(self, _error: Exception | None) -> None:
        self._connections.discard(self)
        self._client_ended = True
        self._buffer.clear()
        self._tell_gone()
        if self._linger is not None:
            self._linger.cancel()

    def pause_writing(self) -> None:
        self._write_blocked = True

    def resume_writing(self) -> None:
        self._write_blocked = False
        self._advance()

    # called by the application, one of them for each request

    def end(self, reply: bytes) -> None:
        """Sends the reply and continues with the next request."""
        if self._transport.is_closing():
            return
        self._transport.write(reply)
        self._busy = False
        if self._keep_alive:
            self._advance()
        else:
            self._transport.close()

    def end_and_close(self, reply: bytes) -> None:
        """Sends the bytes, then closes the connection."""
        if not self._transport.is_closing():
            self._transport.write(reply)
            self._transport.close()

    def reset(self, sent: bytes = b"") -> None:
        """Sends the bytes, then resets the connection (RST, not FIN)."""
        if self._transport.is_closing():
            return
        if sent:
            self._transport.write(sent)
        sock: socket.socket = self._transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self._transport.abort()

    def hold(self, sent: bytes, on_gone: Callable[[], None]) -> None:
        """Sends the bytes and keeps the request open; calls back once when the client disconnects."""
        self._on_gone = on_gone
        if self._client_ended:
            self._tell_gone()
        elif sent:
            self._transport.write(sent)

    def send_more(self, data: bytes) -> None:
        """Sends one more piece of a held reply."""
        self._transport.write(data)

    def release(self) -> None:
        """Ends a held reply, which is now complete."""
        self._on_gone = None
        self.end(b"")

    @property
    def is_gone(self) -> bool:
        """Whether the client has disconnected."""
        return self._transport.is_closing()

    # called by the server

    def close_if_idle(self, since_s: float) -> None:
        """Closes if nothing was received since `since_s` (loop time) and no reply is pending."""
        if not self._busy and self.last_heard_s < since_s:
            self._transport.close()

    def abort(self) -> None:
        """Closes at once."""
        self._transport.abort()

    # parsing

    def _advance(self) -> None:
        """Handles the buffered bytes. Not recursive: an answer that is given at once returns to this loop."""
        if self._advancing:
            return
        self._advancing = True
        try:
            while not (self._busy or self._write_blocked or self._refused or self.is_gone):
                request = self._next_request()
                if request is None:
                    break
                self._busy = True
                self._application(request, self)
        except BadRequest as problem:
            self._refuse(problem)
        finally:
            self._advancing = False
        self._resume_or_close()

    def _resume_or_close(self) -> None:
        if self._busy or self._refused or self.is_gone:
            return
        if self._client_ended and not self._write_blocked:
            self._transport.close()
        elif not self._transport.is_reading():
            self._transport.resume_reading()

    def _next_request(self) -> HttpRequest | None:
        if self._parsed is None:
            self._parsed = self._next_head()
        if self._parsed is None:
            return None
        request, body_bytes = self._parsed
        buffer = self._buffer
        if len(buffer) < body_bytes:
            return None
        self._parsed = None
        if not body_bytes:
            return request
        body = bytes(buffer[:body_bytes])
        del buffer[:body_bytes]
        return HttpRequest(request.method, request.target, request.headers, body)

    def _next_head(self) -> tuple[HttpRequest, int] | None:
        buffer = self._buffer
        end = buffer.find(b"\r\n\r\n", 0, self._limits.max_header_bytes)
        if end < 0:
            if len(buffer) >= self._limits.max_header_bytes:
                raise BadRequest(431, "the headers are too long")
            return None
        text = buffer[:end].decode("latin-1")
        del buffer[: end + 4]
        line, _, fields = text.partition("\r\n")
        method, target, keeps_alive = _read_request_line(line)
        headers = read_headers(fields)
        self._keep_alive = keeps_alive and "close" not in headers.get("connection", "").lower()
        return HttpRequest(method, target, headers), self._body_bytes(headers)

    def _body_bytes(self, headers: Mapping[str, str]) -> int:
        if "transfer-encoding" in headers:
            raise BadRequest(411, "send a Content-Length instead of a Transfer-Encoding")
        length = headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise BadRequest(400, "Content-Length is not a number")
        if len(length) > 18 or int(length) > self._limits.max_body_bytes:
            raise BadRequest(413, f"the body is longer than {self._limits.max_body_bytes} bytes")
        return int(length)

    def _refuse(self, problem: BadRequest) -> None:
        self._refused = True
        self._buffer.clear()
        body = b'{"message":"%s"}' % str(problem).encode()
        self._transport.write(head(problem.status, len(body), "connection: close\r\n") + body)
        self._transport.write_eof()
        self._linger = self._loop.call_later(LINGER_S, self._transport.abort)

    def _tell_gone(self) -> None:
        on_gone, self._on_gone = self._on_gone, None
        if on_gone is not None:
            on_gone()
            self._transport.abort()


def read_headers(text: str) -> dict[str, str]:
    """Header lines as a mapping. Raises BadRequest 400 for a malformed line."""
    headers: dict[str, str] = {}
    for line in text.split("\r\n") if text else ():
        name, value = _read_header(line)
        headers[name] = f"{headers[name]},{value}" if name in headers else value
    return headers


# Most lines are the same in every request of a client; caching them saves 8 us a call.


@lru_cache(maxsize=256)
def _read_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon or HEADER_NAME.fullmatch(name) is None:
        raise BadRequest(400, "a header line has no name")
    return name.lower(), value.strip(" \t")


@lru_cache(maxsize=256)
def _read_request_line(line: str) -> tuple[str, str, bool]:
    """The method, the target, and whether the connection may be kept."""
    found = REQUEST_LINE.fullmatch(line)
    if found is None:
        raise BadRequest(400, "the first line is not an HTTP/1.1 request line")
    return found[1], found[2], found[3] == "1"
