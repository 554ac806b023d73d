"""A whole HTTP reply, and how it is read off a connection: `httptools` (llhttp), with limits."""

import re
import time
from typing import Any

from httptools import HttpParserError, HttpResponseParser
from msgspec import Struct

from judge_service.errors import Unavailable
from judge_service.http.failures import broken, oversize

MAX_OVERHEAD_BYTES = 65_536
"""What a reply may hold besides its body, and eight times its body for the framing of tiny chunks.

Heads, interim replies, chunk extensions and trailers all count, so none of them can grow without end.
"""


class Reply(Struct, frozen=True):
    """A whole HTTP reply. `headers` maps lower-case names; a name sent twice keeps its last value."""

    status: int
    headers: Any
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value by its name in any case, `None` when it was not sent."""
        value: str | None = self.headers.get(name.lower())
        return value

    def retry_after_s(self) -> float | None:
        """The wait asked for: `x-amz-retry-after` in milliseconds, else `Retry-After`, seconds or a date."""
        if (wait_ms := _amount(self.header("x-amz-retry-after"))) is not None:
            return wait_ms / 1000.0
        text = self.header("retry-after")
        if (wait_s := _amount(text)) is not None:
            return wait_s
        until = timestamp(text)
        if until is None:
            return None
        now = timestamp(self.header("date"))  # their clock, since ours may be off or jump
        return max(0.0, until - (time.time() if now is None else now))


def timestamp(text: str | None) -> float | None:
    """An HTTP date as seconds since 1970, `None` when it is none."""
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - for refusals only

    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _amount(text: str | None) -> float | None:
    """A plain non-negative number; no `nan`, no sign, no exponent."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip()):
        return None
    return float(text)


class SurplusError(Exception):
    """Bytes after the end of a reply: whatever they are, they answer nothing."""


class ReplyReader:
    """Reads the replies of one connection, one at a time. `begin` comes before each.

    max_body_bytes: a longer body is refused, by its announced length already.

    The `on_` methods are called by the parser. It looks them up once, so an instance lives as long
    as its connection.
    """

    def __init__(self, max_body_bytes: int) -> None:
        self._max_body_bytes = max_body_bytes
        self._parser: HttpResponseParser | None = HttpResponseParser(self)
        self.begin()

    def __repr__(self) -> str:
        return f"ReplyReader({self._received_bytes} bytes received)"

    def begin(self) -> None:
        """Makes ready for the next reply."""
        self.reply: Reply | None = None
        self.reusable = False
        self._refusal: Unavailable | None = None
        self._received_bytes = self._body_bytes = 0
        self._forget_head()

    def close(self) -> None:
        """Lets go of the parser, which holds us."""
        self._parser = None

    def feed(self, data: memoryview) -> None:
        """Reads on; `reply` is set once it is whole, and `reusable` if another may follow it.

        Raises Unavailable for what is no reply, or more than is wanted.
        """
        if self._parser is None:
            return
        self._received_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserError as problem:
            self.reusable = False
            if self.reply is None:  # what follows a whole reply does not spoil it
                raise self._refusal or broken(f"no HTTP reply: {problem}") from problem
        if self.reply is None and (
            self._received_bytes - 8 * self._body_bytes > MAX_OVERHEAD_BYTES
        ):
            raise broken(f"more than {MAX_OVERHEAD_BYTES} bytes besides the reply's body")

    def finish(self) -> None:
        """The other side has ended the stream: the end of a reply that does not say how long it is."""
        if self.reply is None and self._status and not self._framed:
            self._complete()

    def on_message_begin(self) -> None:
        if self.reply is not None:
            raise SurplusError

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._status:  # trailers, which come after the head, are nothing we asked for
            self._headers[name.lower().decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        parser, headers = self._parser, self._headers
        if parser is None:
            return
        self._status = parser.get_status_code()
        length = headers.get("content-length")
        self._framed = length is not None or "transfer-encoding" in headers
        if length is not None and int(length) > self._max_body_bytes:
            self._refuse()
        self._keeps_alive = parser.should_keep_alive() and parser.get_http_version() == "1.1"

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._max_body_bytes:
            self._refuse()
        self._pieces.append(body)

    def on_message_complete(self) -> None:
        if self._status < 200:  # "100 Continue", "103 Early Hints": the reply is still to come
            self._forget_head()
        else:
            self._complete()
            self.reusable = self._keeps_alive

    def _complete(self) -> None:
        pieces = self._pieces
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.reply = Reply(self._status, self._headers, body)

    def _refuse(self) -> None:
        self._refusal = oversize(self._max_body_bytes)
        raise self._refusal

    def _forget_head(self) -> None:
        self._status = 0
        self._framed = self._keeps_alive = False
        self._headers: dict[str, str] = {}
        self._pieces: list[bytes] = []
