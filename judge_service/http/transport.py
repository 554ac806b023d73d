"""The HTTP/1.1 transport: posts requests over a pool of connections; `httptools` parses replies.

A call that never left this machine was not charged against the quota; any other may have been:

    never connected (refused, DNS, TLS, proxy, connect timeout)    unreachable or untrusted, not charged
    no descriptor, no free connection                              exhausted, not charged
    our timeout                                                    TimedOut or DeadlineExceeded, charged
    everything else (reset, half a reply, garbage, closed)         broken, charged

A server may echo what it was sent, so the request's secrets are hidden in every reply that is an error.

The modules that raise them: `client` (connecting), `pool` (waiting), `connection` and `reply` (calling).
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from msgspec import Struct

from judge_service.errors import DeadlineExceeded
from judge_service.flow import Request
from judge_service.http.client import HttpClient, shown
from judge_service.http.descriptors import bounded
from judge_service.http.failures import TimedOut, closed, timed_out
from judge_service.http.pool import Pool
from judge_service.http.reply import Reply, without_secrets
from judge_service.http.route import Route, route_of, secrets_of
from judge_service.settings import HttpSettings

Q = TypeVar("Q")

_OK = 200
_ERROR = b"error"

_MAX_ROUTES = 1000
"""Most URLs whose head is kept; a judge has one or two."""


class TransportStatistics(Struct, frozen=True):
    """Requests started, and how they ended: with a whole reply of any status, or without one."""

    sent: int
    answered: int
    failed: int


class HttpTransport:
    """Posts over a bounded pool of connections. It never redirects, decompresses or reads the environment.

    Share one, because it keeps the certificates that it has read. It belongs to the event loop on which it is
    used first. A cancelled call closes its connection at once (docs/decisions/0003).

    http: time and size limits, CA file, proxy.
    max_connections: most connections, clipped to what the process's file descriptors allow; further calls
        wait within their timeout.

    Raises SettingsError for a CA file or a proxy that cannot be used.
    """

    def __init__(self, http: HttpSettings, max_connections: int) -> None:
        self._http = http
        self._wanted = max_connections
        self.max_connections = bounded(max_connections)
        self._client = HttpClient(http)
        self._pool = Pool(self._client, self.max_connections)
        self._routes: dict[str, Route] = {}
        self._sent = self._answered = self._failed = 0

    def __repr__(self) -> str:
        clipped = self.max_connections < self._wanted
        wanted = f" of {self._wanted} wanted (ulimit -n)" if clipped else ""
        proxy = self._http.proxy_url
        through = f", through {shown(proxy)}" if proxy else ""
        return (
            f"HttpTransport({self.max_connections} connections{wanted}, {self._sent} sent{through})"
        )

    def statistics(self) -> TransportStatistics:
        return TransportStatistics(self._sent, self._answered, self._failed)

    async def aclose(self) -> None:
        """Closes every connection. Calls on the wire fail. A second call does nothing."""
        await self._pool.aclose()

    def send(
        self, request: Request[Q], url: str, headers: dict[str, str], body: bytes
    ) -> Coroutine[Any, Any, Reply]:
        """Posts a request, at most until its deadline.

        `request.sent_at` is set when its bytes go to a connected socket. A call that is cancelled before,
        while it waits for a connection (pool, DNS, TCP, TLS), is never sent.

        Raises DeadlineExceeded if no time is left, and what `post` raises.
        """
        timeout_s, at_deadline = time_left(request, self._http.call_timeout_s)
        return self._exchange(
            self._route(url), headers, body, timeout_s, request, at_deadline=at_deadline
        )

    def post(
        self, url: str, headers: dict[str, str], body: bytes, timeout_s: float
    ) -> Coroutine[Any, Any, Reply]:
        """Posts once and reads the whole reply, whatever its status.

        timeout_s: from waiting for a connection to the last byte of the reply.

        Raises Unavailable, or CredentialsError for a header that cannot be sent.
        """
        return self._exchange(self._route(url), headers, body, timeout_s)

    async def get(self, url: str, headers: dict[str, str], timeout_s: float) -> Reply:
        """Gets once, with the rules of `post`; for configuration, not for judges."""
        return await self._exchange(
            route_of(url, self._client.proxy, "GET"), headers, b"", timeout_s
        )

    async def _exchange(
        self,
        route: Route,
        headers: dict[str, str],
        body: bytes,
        timeout_s: float,
        request: Request[Any] | None = None,
        *,
        at_deadline: bool = False,
    ) -> Reply:
        """Makes one exchange; the only coroutine between backend and socket, because each one costs time."""
        pool, origin = self._pool, route.origin
        if pool.is_closed:
            raise closed()
        until = asyncio.get_running_loop().time() + timeout_s
        data = route.request(headers, body)
        self._sent += 1
        try:
            connection = pool.lend(origin) or await pool.open(origin, until, timeout_s)
            try:
                reply = await connection.ask(data, until, timeout_s, request)
            finally:
                pool.take_back(origin, connection)
        except BaseException as problem:
            self._failed += 1
            if at_deadline and isinstance(problem, TimedOut):
                raise timed_out(timeout_s, at_deadline=True) from problem
            raise
        self._answered += 1
        if reply.status != _OK or _ERROR in reply.body:  # also an error with status 200
            return without_secrets(reply, secrets_of(headers, route.head))
        return reply

    def _route(self, url: str) -> Route:
        return self._routes.get(url) or self._add_route(url)

    def _add_route(self, url: str) -> Route:
        if len(self._routes) >= _MAX_ROUTES:
            self._routes.clear()
        route = self._routes[url] = route_of(url, self._client.proxy)
        return route


def time_left(request: Request[Q], call_timeout_s: float) -> tuple[float, bool]:
    """The seconds that a call may take, and whether the deadline limits them.

    Raises DeadlineExceeded, uncharged, if no time is left.
    """
    left_s = request.deadline - asyncio.get_running_loop().time()
    if left_s <= 0:
        raise DeadlineExceeded("there was no time left to ask the judge")
    return min(left_s, call_timeout_s), left_s <= call_timeout_s
