"""One connection to a judge: one request at a time, and the end of everything that goes wrong on it."""

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
"""A peer that vanished without a word is found out before the call's timeout, where the system can."""


class Connection(asyncio.BufferedProtocol):
    """Sends a request, waits for the reply, and closes on anything unexpected.

    It closes when the call is cancelled or out of time, on a reply that is broken, too long, or
    followed by more bytes, and when the other side asks for it; then it is not `usable` again.

    One timer serves both calls and idling. It is not moved with every call: when it goes off early,
    it is set anew for what is then left.

    buffer: what comes in is read into it and out of it within one step of the loop, so that all
        connections of a loop share it; asyncio would else allocate 256 KB for every read.
    max_reply_bytes: size of a reply's body.
    idle_timeout_s: an idle connection closes after so many seconds.
    """

    def __init__(self, buffer: memoryview, max_reply_bytes: int, idle_timeout_s: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = ReplyReader(max_reply_bytes)
        self._buffer = buffer
        self._idle_timeout_s = idle_timeout_s
        self._transport: asyncio.Transport | None = None
        self._call: asyncio.Future[Reply] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = 0.0  # a handle of uvloop does not say when it is due
        self._until = self._idle_until = self._timeout_s = 0.0
        self._poll = select.poll()

    def __repr__(self) -> str:
        state = "closed" if self._transport is None else "busy" if self._call else "idle"
        return f"Connection({state})"

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def is_usable(self) -> bool:
        """Whether it is open, has not idled too long, and nothing has come in that nobody asked for.

        The wall clock is looked at, because the loop's clock, which the timer goes by, may stand still
        while a process is frozen.
        """
        return (
            self.is_open
            and time.time() < self._idle_until
            and not self._poll.poll(0)  # an end not read yet, or a reply to nothing
        )

    def ask(
        self, data: bytes, until: float, timeout_s: float, request: Request[Any] | None = None
    ) -> asyncio.Future[Reply]:
        """Sends a whole request at once. The future is the whole reply, or fails with Unavailable.

        `rest` comes after it, however it ended; a caller that leaves has cancelled the future.

        The bytes are handed to the loop at once: a body is bounded by limits.max_sample_chars, so
        there is nothing to gain by waiting for the socket.

        until: the loop's time at which the call ends.
        timeout_s: what that was at the start, for the error's sentence.
        request: whose bytes these are; it is marked as sent (`sent_at`) with the bytes, not before.

        Raises Unavailable, uncharged, if it is closed.
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
        """Ends the call and makes ready to idle. `False` if no other may follow: then close it."""
        self._call = None
        if not (self._reader.reusable and self.is_open):  # it is not before a reply is whole
            return False
        self._idle_until = time.time() + self._idle_timeout_s
        self._set_timer(self._loop.time() + self._idle_timeout_s)
        return True

    def abort(self) -> None:
        """Closes at once; a call under way fails. A second time does nothing."""
        self._end(broken("it was closed"))
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        made: Any = transport.get_extra_info("socket")
        for level, name, value in _SOCKET_OPTIONS:
            if (option := getattr(socket, name, None)) is not None:
                with suppress(OSError):  # a socket that was reset meanwhile ends by itself
                    made.setsockopt(level, option, value)
        self._poll.register(made.fileno(), select.POLLIN)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - asyncio's signature
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._call is None or self._call.done():
            self.abort()  # nobody asked
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
            self._reader.reusable = False  # answered before the question was out
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
