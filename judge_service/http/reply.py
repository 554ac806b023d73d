"""Reads whole HTTP replies from a connection with `httptools` (llhttp), within limits."""

import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

from httptools import HttpParserError, HttpResponseParser
from msgspec import Struct

from judge_service.http.failures import broken, oversize
from judge_service.redaction import hide

MAX_OVERHEAD_BYTES = 65_536
"""Most bytes of a reply besides its body and its framing, which may be eight times the body (tiny chunks).

Heads, interim replies, chunk extensions and trailers all count, so that none is unbounded.
"""


class Reply(Struct, frozen=True):
    """A whole HTTP reply.

    headers: values by lower-case name; the last value of a name that was sent twice.
    """

    status: int
    headers: Any
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value by its name in any case, `None` if it was not sent."""
        value: str | None = self.headers.get(name.lower())
        return value

    def retry_after_s(self) -> float | None:
        """The requested wait: `x-amz-retry-after` in milliseconds, else `Retry-After`, seconds or a date."""
        if (wait_ms := _amount(self.header("x-amz-retry-after"))) is not None:
            return wait_ms / 1000.0
        text = self.header("retry-after")
        if (wait_s := _amount(text)) is not None:
            return wait_s
        until = timestamp(text)
        if until is None:
            return None
        now = timestamp(
            self.header("date")
        )  # the server's clock, because ours may be wrong or jump
        return max(0.0, until - (time.time() if now is None else now))


def timestamp(text: str | None) -> float | None:
    """An HTTP date as seconds since 1970, `None` if it is not a date."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - for refusals only

    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _amount(text: str | None) -> float | None:
    """A plain non-negative number without `nan`, sign or exponent."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip()):
        return None
    return float(text)


class SurplusError(Exception):
    """Bytes after the end of a reply, which belong to no request."""


class _Headers:
    """Undecoded headers. They are decoded on demand, because most replies need none."""

    __slots__ = ("_sent",)

    def __init__(self, sent: Mapping[bytes, bytes]) -> None:
        self._sent = sent

    def __repr__(self) -> str:
        return f"Headers({', '.join(name.decode('latin-1') for name in self._sent)})"

    def get(self, name: str) -> str | None:
        """The value of a lower-case name."""
        found = None
        for sent, value in self._sent.items():
            if sent.lower().decode("latin-1") == name:
                found = value
        return None if found is None else found.decode("latin-1")

    def without(self, secrets: Sequence[bytes]) -> "_Headers":
        """The headers with the secrets hidden."""
        return _Headers({name: hide(value, secrets) for name, value in self._sent.items()})


def without_secrets(reply: Reply, secrets: Sequence[bytes]) -> Reply:
    """The reply, with what it echoes of the request's secrets hidden."""
    return Reply(reply.status, reply.headers.without(secrets), hide(reply.body, secrets))


class ReplyReader:
    """Reads the replies of one connection, one at a time. `begin` comes before each.

    max_body_bytes: limit of the body; a longer one is refused by its announced length already.

    The parser calls `on_...`. It looks them up once, so an instance lives as long as its connection. Two of
    them are methods of a dict and a list, which are faster than a method of ours for each header.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._sent: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self.on_header = self._sent.__setitem__
        self.on_body = self._pieces.append
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self._headers = _Headers({})
        self.reply: Reply | None = None
        self.begin()
        self.reusable = True  # nothing was received yet

    def __repr__(self) -> str:
        return f"ReplyReader({self._received_bytes} bytes received)"

    def begin(self) -> None:
        """Prepares for the next reply."""
        self.reply = None
        self.reusable = False
        self._status = self._received_bytes = self._body_bytes = self._counted = 0
        self._sent.clear()
        self._pieces.clear()

    def close(self) -> None:
        """Drops the parser, which refers to this object."""
        self._parser = None

    def feed(self, data: memoryview) -> Reply | None:
        """Reads bytes. Returns the reply once it is whole; `reusable` then says whether another may follow.

        Raises Unavailable for bytes that are not a reply, and for a reply that is too long.
        """
        if self._parser is None:
            return None
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as problem:
            self.reusable = False
            if self.reply is None:  # bytes after a whole reply do not invalidate it
                raise broken(f"no HTTP reply: {problem}") from problem
        if self.reply is None:
            self._check_limits()
        elif len(self.reply.body) > self._max_body_bytes:
            raise oversize(self._max_body_bytes)
        return self.reply

    def finish(self) -> Reply | None:
        """Handles the end of the stream, which ends a reply without a length."""
        if self.reply is None and self._status and not self._is_framed():
            self._complete()
        return self.reply

    def on_message_begin(self) -> None:
        if self.reply is not None:
            raise SurplusError

    def on_headers_complete(self) -> None:
        if self._parser is not None:
            self._status = self._parser.get_status_code()
            self._headers = _Headers(self._sent.copy())
            self._sent.clear()  # trailers that may follow are not wanted

    def on_message_complete(self) -> None:
        if self._status < 200:  # "100 Continue", "103 Early Hints": the reply follows
            self._status = 0
        elif self._parser is not None:
            self._complete()
            self.reusable = (
                self._parser.should_keep_alive() and self._parser.get_http_version() == "1.1"
            )

    def _complete(self) -> None:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.reply = Reply(self._status, self._headers, body)

    def _is_framed(self) -> bool:
        names = ("content-length", "transfer-encoding")
        return any(self._headers.get(name) is not None for name in names)

    def _check_limits(self) -> None:
        """Checks the limits of a reply that is not whole yet. Raises Unavailable."""
        self._body_bytes += sum(map(len, self._pieces[self._counted :]))
        self._counted = len(self._pieces)
        announced = int(self._headers.get("content-length") or 0) if self._status else 0
        if max(self._body_bytes, announced) > self._max_body_bytes:
            raise oversize(self._max_body_bytes)
        if self._received_bytes - 8 * self._body_bytes > MAX_OVERHEAD_BYTES:
            raise broken(f"more than {MAX_OVERHEAD_BYTES} bytes besides the reply's body")
