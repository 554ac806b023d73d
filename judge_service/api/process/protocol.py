"""uvicorn's HTTP protocol with limits that it lacks: connections, size of headers, and time.

uvicorn waits forever for a request's headers and does not limit their size, so a few hundred slow
connections can exhaust it. One sweep a second checks all connections, which costs less than a timer for
each request.

Two more tasks are done here because they are expensive elsewhere (docs/performance.md): the head and body of
a response are sent in one write, and a request is told at once when its caller leaves, without a waiting
task (`Leaving`).
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from judge_service.api.admission.admitted_request import LEAVING
from judge_service.api.errors import ErrorBody

MAX_HEAD_BYTES = 65_536
"""Limit of request line and headers; the largest usual tokens have a fraction of that."""

SWEEP_S = 1.0


class Bounds(msgspec.Struct, frozen=True, kw_only=True):
    """header_timeout_s, body_timeout_s: for headers and body of a request. max_connections: open at once."""

    header_timeout_s: float = 10.0
    body_timeout_s: float = 30.0
    max_connections: int = 4096


class Leaving:
    """Tells the running request of a connection that the connection has ended; pipelined requests wait."""

    def __init__(self) -> None:
        self.tell: Callable[[], None] | None = None

    def happens(self) -> None:
        if self.tell is not None:
            self.tell()


class JoinedWrites:
    """A transport that delays the head of a response until its body comes, or the loop's iteration ends.

    uvicorn writes head and body separately, and each write is a system call and a packet.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._head = b""
        self.is_closing = transport.is_closing
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading
        self.get_extra_info = transport.get_extra_info

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head + data)
        elif data.startswith(b"HTTP/1.1 ") and data.endswith(b"\r\n\r\n"):
            self._head = data
            self._call_soon(self._flush)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.write(head)


class GuardedProtocol(HttpToolsProtocol):
    """One connection. A request over the limits gets an error response, and the connection is closed."""

    bounds = Bounds()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self._begin_head()
        self._leaving = Leaving()
        super().connection_made(JoinedWrites(transport))  # type: ignore[arg-type] # it has a transport's methods
        if len(self.connections) > self.bounds.max_connections:
            self._refuse(503, "overloaded", "too many connections; try again", "retry-after: 1\r\n")

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._leaving.happens()

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(431, "headers_too_large", "the headers are too large")

    def on_message_begin(self) -> None:
        self._begin_head()
        super().on_message_begin()
        self.scope["extensions"] = {LEAVING: self._leaving}  # type: ignore[dict-item] # any object is allowed

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._in_body = True
        self._since = self.loop.time()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._in_body = False
        super().on_message_complete()

    def sweep(self, now: float) -> None:
        """Closes the connection if sending its request takes too long."""
        if self.transport.is_closing():
            return
        if self._in_head and now - self._since > self.bounds.header_timeout_s:
            self._refuse(408, "headers_too_slow", "the headers took too long")
        elif self._in_body and now - self._since > self.bounds.body_timeout_s + SWEEP_S:
            self.transport.close()  # the route has already answered, with this error or without the body

    def send_400_response(self, msg: str) -> None:
        """Answers a request that is not HTTP with an error in the service's form."""
        self._refuse(400, "bad_request", msg)

    def _begin_head(self) -> None:
        self._in_head, self._in_body = True, False
        self._head_bytes = 0
        self._since = asyncio.get_running_loop().time()

    def _refuse(self, status: int, code: str, message: str, headers: str = "") -> None:
        body = msgspec.json.encode({"error": ErrorBody(code, message)})
        if self.cycle is None or self.cycle.response_complete:
            head = (
                f"HTTP/1.1 {status} \r\ncontent-type: application/json\r\n"
                f"content-length: {len(body)}\r\nconnection: close\r\n{headers}\r\n"
            )
            self.transport.write(head.encode() + body)
        self.transport.close()


def guarded(bounds: Bounds) -> type[GuardedProtocol]:
    """The protocol with these limits, for uvicorn's `http=`."""
    members: dict[str, Any] = {"bounds": bounds}
    return type("GuardedProtocol", (GuardedProtocol,), members)
