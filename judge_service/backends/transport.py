"""Bytes out, bytes in: HTTP over `pyreqwest`, and the one place where its exceptions become ours.

What was seen of pyreqwest 0.15 and is held by `tests/backends/test_transport.py`: its exception
classes do not tell "could not connect" from "the connection broke" (both are `ConnectError`) nor a
slow connect from a silent server (both `ConnectTimeoutError`), but the causes it carries do. That
difference matters: what never left this machine was not charged against the quota.

    never connected (refused, DNS, TLS, proxy, connect timeout)    unreachable or untrusted, not charged
    no descriptor, no free connection                              exhausted, not charged
    our timeout                                                    TimedOut or DeadlineExceeded, charged
    everything else (reset, half a reply, garbage, closed)         broken, charged
"""

import asyncio
import re
import time
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn, TypeVar

from msgspec import Struct
from pyreqwest.client import Client
from pyreqwest.exceptions import (
    PoolTimeoutError,
    PyreqwestError,
    RequestTimeoutError,
)
from pyreqwest.response import Response

from judge_service.backends.descriptors import bounded
from judge_service.backends.failures import (
    TimedOut,
    broken,
    closed,
    exhausted,
    timed_out,
    unreachable,
    untrusted,
)
from judge_service.backends.http_client import open_client, proxy_url_of, shown
from judge_service.errors import DeadlineExceeded, Unavailable
from judge_service.flow import Request
from judge_service.settings import HttpSettings

Q = TypeVar("Q")

_NOT_CONNECTED = "client error (Connect)"
"""The cause (hyper-util's words) of every failure before a byte of the request could leave."""

_NO_DESCRIPTOR = re.compile(r"\(os error 2[34]\)$")
"""The end of the last cause when the system (23) or the process (24) is out of file descriptors."""

_NO_DESCRIPTOR = re.compile(r"\(os error (23|24)\)$")
"""ENFILE and EMFILE, as Rust writes them."""

SETTLE_S = 0.05
"""How long closing lets pyreqwest's own thread come to rest, seconds.

That thread wakes us while it still has a few microseconds of Python to run; an interpreter that ends
within them aborts (`PyGILState_Release`, seen in 1 of 10 immediate exits, in 0 of 60 after this wait).
"""


class Reply(Struct, frozen=True):
    """A whole HTTP reply. `headers` maps lower-case names; a name sent twice keeps one value."""

    status: int
    headers: Any
    body: bytes

    def header(self, name: str) -> str | None:
        """A header's value by its name in any case, `None` when it was not sent."""
        value: str | None = self.headers.get(name)
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
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def _amount(text: str | None) -> float | None:
    """A plain non-negative number; no `nan`, no sign, no exponent."""
    if text is None or not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text.strip()):
        return None
    return float(text)


class TransportStatistics(Struct, frozen=True):
    """Requests sent, and how they ended: a whole reply of any status, or a failure."""

    sent: int
    answered: int
    failed: int


class HttpTransport:
    """A bounded pool of connections, with the manners of `http_client.open_client`.

    Making one reads the certificates from disk, so make it at the start and share it. A cancelled
    call goes on to its end on the wire, holding its connection (docs/decisions/0003).

    http: time and size limits, CA file, proxy.
    max_connections: requests on the wire at once, clipped to what the process's file descriptors
        leave room for; more wait in line within their own timeout.

    Raises SettingsError as `open_client`.
    """

    def __init__(self, http: HttpSettings, max_connections: int) -> None:
        self._http = http
        self._wanted = max_connections
        self.max_connections = bounded(max_connections)
        self._client: Client | None = open_client(http, self.max_connections)
        self._sent = self._answered = self._failed = 0

    def __repr__(self) -> str:
        clipped = self.max_connections < self._wanted
        wanted = f" of {self._wanted} wanted (ulimit -n)" if clipped else ""
        proxy = proxy_url_of(self._http)
        through = f", through {shown(proxy)}" if proxy else ""
        return (
            f"HttpTransport({self.max_connections} connections{wanted}, {self._sent} sent{through})"
        )

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(self._sent, self._answered, self._failed)

    async def aclose(self) -> None:
        """Closes the pool; a second time does nothing. Calls still on the wire fail.

        pyreqwest's `close` leaves idle connections open until the client itself is gone, so it goes.
        """
        client, self._client = self._client, None
        if client is not None:
            await client.close()
            del client
            await asyncio.sleep(SETTLE_S)

    async def send(
        self, request: Request[Q], url: str, headers: dict[str, str], body: bytes
    ) -> Reply:
        """Posts for a request: at most until its deadline, and marks when bytes may have left.

        Raises DeadlineExceeded if no time is left or it ran out, else as `post`.
        """
        timeout_s, at_deadline = mark_sent(request, self._http.call_timeout_s)
        try:
            return await self.post(url, headers, body, timeout_s)
        except TimedOut as problem:
            raise timed_out(timeout_s, at_deadline=at_deadline) from problem

    async def post(self, url: str, headers: dict[str, str], body: bytes, timeout_s: float) -> Reply:
        """Posts once and reads the whole reply, whatever its status.

        timeout_s: for everything, from connecting to the last byte of the reply.

        Raises Unavailable.
        """
        if self._client is None:
            raise closed()
        call = self._client.post(url).headers(headers).body_bytes(body)
        self._sent += 1
        try:
            async with call.timeout(timedelta(seconds=timeout_s)).build_streamed() as response:
                content = await self._read(response)
                reply = Reply(response.status, response.headers, content)
        except PyreqwestError as problem:
            self._failed += 1
            _raise(problem, timeout_s)
        except Unavailable:
            self._failed += 1
            raise
        self._answered += 1
        return reply

    async def _read(self, response: Response) -> bytes:
        """The body, never holding more than the limit and one chunk; leaving early drops the connection."""
        reader = response.body_reader
        content = b""
        while (chunk := await reader.read_chunk()) is not None:
            content = content + chunk if content else bytes(chunk)
            if len(content) > self._http.max_reply_bytes:
                raise Unavailable(
                    f"the judge's reply is longer than http.max_reply_bytes"
                    f" ({self._http.max_reply_bytes}); that is no verdict",
                    charged=True,
                    max_retries=1,
                )
        return content


def mark_sent(request: Request[Q], call_timeout_s: float) -> tuple[float, bool]:
    """Marks that bytes may leave from now on. Returns the time the call may take, and whether the
    deadline is what limits it.

    Raises DeadlineExceeded, unmarked, if there is no time.
    """
    now = asyncio.get_running_loop().time()
    left_s = request.deadline - now
    if left_s <= 0:
        raise DeadlineExceeded("there was no time left to ask the judge")
    request.sent_at = now
    return min(left_s, call_timeout_s), left_s <= call_timeout_s


def _raise(problem: PyreqwestError, timeout_s: float) -> NoReturn:
    """The one place where pyreqwest's exceptions become ours, by what caused them."""
    details = getattr(problem, "details", None) or {}
    causes = [cause["message"] for cause in details.get("causes") or ()]
    last = causes[-1] if causes else problem.message
    if _NO_DESCRIPTOR.search(last) or isinstance(problem, PoolTimeoutError):
        raise exhausted(last) from problem
    if last.startswith("invalid peer certificate"):
        raise untrusted(last) from problem
    if _NOT_CONNECTED in causes:
        raise unreachable(last) from problem
    if isinstance(problem, RequestTimeoutError):
        raise timed_out(timeout_s, at_deadline=False) from problem
    raise broken(last) from problem
