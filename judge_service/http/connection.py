"""A connection to a judge: it carries one request at a time and closes on every failure."""

import asyncio
import select
import socket
import time
from contextlib import suppress
from typing import Any, cast

from judge_service.errors import CallError, Unavailable
from judge_service.flow import Request
from judge_service.http.failures import broken, timed_out, unreachable
from judge_service.http.reply import Reply, ReplyReader

_SOCKET_OPTIONS = (
    (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
    (socket.IPPROTO_TCP, "TCP_KEEPIDLE", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPINTVL", 15),
    (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
    (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", 30_000),
)
"""Socket options that detect a vanished peer before the call's timeout, if the system supports them."""


class Connection(asyncio.BufferedProtocol):
    """Sends a request, waits for the reply, and closes on anything unexpected.

    It closes when the call is cancelled or out of time, on a reply that is broken, too long or followed by
    more bytes, and when the server asks for it; then it is never usable again.

    One timer serves calls and idle time. A call does not move it: when it fires too early, it is set for the
    rest.

    buffer: all connections of a loop share it, because incoming bytes are written and read within one step
        of the loop; without it asyncio would allocate 256 KB for every read.
    max_reply_bytes: limit of a reply's body.
    idle_timeout_s: an idle connection closes after this time.
    """

    def __init__(self, buffer: memoryview, max_reply_bytes: int, idle_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader(max_reply_bytes)
        self._buffer = buffer
        self._idle_timeout_s = idle_timeout_s
        self._transport: asyncio.Transport | None = None
        self._call: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # uvloop's handles do not have a time
        self._until = self._idle_until = self._timeout_s = 0.0
        self._poll = select.poll()

    def __repr__(self) -> str:
        state = "closed" if self._transport is None else "busy" if self._call else "idle"
        return f"Connection({state})"

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_usable(self) -> bool:
        """Whether it is open, not idle for too long, and has received no unrequested bytes.

        It reads the wall clock: the loop's clock, which the timer uses, may stand still while the process is
        frozen.
        """
        return (
            self.is_open
            and time.time() < self._idle_until
            and not self._poll.poll(0)  # an end of stream, or an unrequested reply
        )

    def ask(
        self, data: bytes, until: float, timeout_s: float, request: Request[Any] | None = None
    ) -> asyncio.Future[Reply]:
        """Sends a whole request at once. The future gives the whole reply or fails with Unavailable.

        Call `rest` after it, however it ended; a caller that goes cancels the future.

        All bytes go to the loop at once: limits.max_sample_chars bounds the body, so waiting for the socket
        gains nothing.

        until: the loop's time at which the call ends.
        timeout_s: the same as a duration, for the error's text.
        request: marked as sent (`sent_at`) with the bytes, not before.

        Raises Unavailable, uncharged, if the connection is closed.
        """
        if self._transport is None:
            raise unreachable("it hung up at once")
        call: asyncio.Future[Reply] = self._loop.create_future()
        self._call = call
        self._reader.begin()
        self._timeout_s = timeout_s
        self._set_timer(until)
        if request is not None:
            request.sent_at = self._loop.time()
        self._transport.write(data)
        return call

    def rest(self) -> bool:
        """Ends the call and prepares for idle time. Returns `False` if the connection must be closed."""
        self._call = None
        if not (self._reader.reusable and self.is_open):  # not reusable before a reply is whole
            return False
        self._idle_until = time.time() + self._idle_timeout_s
        self._set_timer(self._loop.time() + self._idle_timeout_s)
        return True

    def abort(self) -> None:
        """Closes at once; a call under way fails. A second call does nothing."""
        self._end(broken("it was closed"))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        made: Any = transport.get_extra_info("socket")
        for level, name, value in _SOCKET_OPTIONS:
            if (option := getattr(socket, name, None)) is not None:
                with suppress(OSError):  # a socket that was reset is closed already
                    made.setsockopt(level, option, value)
        self._poll.register(made.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._call is None or self._call.done():
            self.abort()  # unrequested bytes
            return
        try:
            reply = self._reader.feed(self._buffer[:nbytes])
        except Unavailable as problem:
            self._end(problem)
            self.abort()
        else:
            if reply is not None:
                self._answer(self._call, reply)

    def eof_received(self) -> None:
        reply = self._reader.finish()
        if reply is not None and self._call is not None and not self._call.done():
            self._answer(self._call, reply)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._end(broken(f"{exc}" if exc else "closed before the reply was whole"))
        self._reader.close()

    def _answer(self, call: asyncio.Future[Reply], reply: Reply) -> None:
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size():
            self._reader.reusable = False  # answered before the request was sent
        call.set_result(reply)

    def _end(self, problem: CallError) -> None:
        self._reader.reusable = False
        if self._call is not None and not self._call.done():
            self._call.set_exception(problem)

    def _set_timer(self, until: float) -> None:
        self._until = until
        if self._timer is None or self._timer_at > until:
            if self._timer is not None:
                self._timer.cancel()
            self._timer_at = until
            self._timer = self._loop.call_at(until, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self._loop.time() < self._until:
            self._set_timer(self._until)
            return
        if self._call is not None:
            self._end(timed_out(self._timeout_s, at_deadline=False))
        self.abort()
