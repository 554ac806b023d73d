"""A bounded number of connections, the one used last first, and a line for those who wait for one."""

import asyncio
from collections import deque

from judge_service.errors import Unavailable
from judge_service.http.client import HttpClient
from judge_service.http.connection import Connection
from judge_service.http.failures import closed, exhausted
from judge_service.http.reply import Reply
from judge_service.http.route import Origin


class Pool:
    """Lends connections to one call at a time.

    The one that rested last is lent first, so that under less load the others come to their idle
    timeout. Those who wait are served in the order they came.

    max_connections: open at once, idle ones included.
    """

    def __init__(self, client: HttpClient, max_connections: int) -> None:
        self._client = client
        self._max_connections = max_connections
        self._lent = 0
        self._busy: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.is_closed = False

    def __repr__(self) -> str:
        return f"Pool({self._lent} of {self._max_connections} lent, {len(self._waiting)} waiting)"

    async def ask(self, origin: Origin, data: bytes, until: float, timeout_s: float) -> Reply:
        """Sends a request over a connection of its own. Raises Unavailable."""
        if self._lent < self._max_connections:
            self._lent += 1
        else:
            await self._wait(until, timeout_s)
        try:
            connection = self._rested(origin) or await self._connect(origin, until)
            self._busy.add(connection)
            try:
                return await connection.ask(data, until, timeout_s)
            finally:
                self._busy.discard(connection)
                if connection.is_open and not self.is_closed:
                    connection.rest()
                    self._idle.setdefault(origin, []).append(connection)
        finally:
            self._give_back()

    async def aclose(self) -> None:
        """Closes every connection. Calls on the wire fail, and those who wait are told."""
        self.is_closed = True
        idle = [one for several in self._idle.values() for one in several]
        self._idle.clear()
        for connection in [*idle, *self._busy]:
            connection.abort()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(closed())
        await asyncio.sleep(0)  # sockets are closed in the loop's next round
        await asyncio.sleep(0)

    async def _wait(self, until: float, timeout_s: float) -> None:
        """Waits in line for what another gives back. Raises Unavailable."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout_at(until):
                await waiting
        except BaseException as problem:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._give_back()  # it came as we left
            if isinstance(problem, TimeoutError):
                most = self._max_connections
                raise exhausted(f"all {most} were busy for {timeout_s:.3g} s") from problem
            raise

    def _give_back(self) -> None:
        """Hands the right to a connection to whoever has waited longest."""
        while self._waiting:
            waiting = self._waiting.popleft()
            if not waiting.done():
                waiting.set_result(None)
                return
        self._lent -= 1

    def _rested(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        while idle:
            connection = idle.pop()
            if connection.is_usable():
                return connection
            connection.abort()
        return None

    async def _connect(self, origin: Origin, until: float) -> Connection:
        self._refuse_if_closed()
        self._make_room()
        connection = await self._client.connect(origin, until)
        try:
            self._refuse_if_closed()
        except Unavailable:
            connection.abort()
            raise
        return connection

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise closed()

    def _make_room(self) -> None:
        """Drops what has ended, and what idles at other origins when there is no room for one more."""
        for origin, idle in list(self._idle.items()):
            idle[:] = [one for one in idle if one.is_open]
            while idle and self._lent + self._idling() > self._max_connections:
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]

    def _idling(self) -> int:
        return sum(map(len, self._idle.values()))
