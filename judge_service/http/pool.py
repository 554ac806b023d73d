"""A bounded pool of connections, and a queue of calls that wait for one."""

import asyncio
from collections import deque
from functools import partial

from judge_service.errors import Unavailable
from judge_service.http.client import HttpClient
from judge_service.http.connection import Connection
from judge_service.http.failures import closed, exhausted
from judge_service.http.route import Origin


class Pool:
    """Lends connections to one call at a time.

    The connection used last is lent first, so that under less load the others reach their idle timeout.
    Waiting calls are served in the order of arrival.

    If the caller goes while a connection is being opened, the connection is kept for the next call: asyncio
    may leak an open socket when connecting is cancelled (`staggered_race`).

    max_connections: most open connections, including idle ones.
    """

    def __init__(self, client: HttpClient, max_connections: int) -> None:
        self._client = client
        self._max_connections = max_connections
        self._lent = 0
        self._open: set[Connection] = set()
        self._idle: dict[Origin, list[Connection]] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._abandoned: set[asyncio.Task[Connection]] = set()
        self.is_closed = False

    def __repr__(self) -> str:
        return f"Pool({self._lent} of {self._max_connections} lent, {len(self._waiting)} waiting)"

    def lend(self, origin: Origin) -> Connection | None:
        """An idle connection, at once; `None` if there is none or all are lent."""
        if self._lent >= self._max_connections:
            return None
        connection = self._rested(origin)
        if connection is not None:
            self._lent += 1
        return connection

    async def open(self, origin: Origin, until: float, timeout_s: float) -> Connection:
        """A connection for a call for which `lend` has none: waits for a place, and connects.

        until: the loop's time at which waiting ends. timeout_s: the same as a duration.

        Raises Unavailable, uncharged: nothing was sent.
        """
        if self._lent < self._max_connections:
            self._lent += 1
        else:
            await self._wait(until, timeout_s)
        return self._rested(origin) or await self._connect(origin, until)

    def take_back(self, origin: Origin, connection: Connection) -> None:
        """Returns the connection of a call that has ended; closes it if it cannot be used again."""
        if self.is_closed or not connection.rest():
            connection.abort()
        else:
            self._idle.setdefault(origin, []).append(connection)
        self._give_back()

    async def aclose(self) -> None:
        """Closes every connection. Calls on the wire and waiting calls fail."""
        self.is_closed = True
        self._idle.clear()
        for connection in self._open:
            connection.abort()
        self._open.clear()
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(closed())
        for connecting in self._abandoned:
            connecting.cancel()
        await asyncio.gather(*self._abandoned, return_exceptions=True)
        await asyncio.sleep(0)  # the loop closes sockets in its next round
        await asyncio.sleep(0)

    async def _wait(self, until: float, timeout_s: float) -> None:
        """Waits until another call returns its place. Raises Unavailable."""
        waiting = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        try:
            async with asyncio.timeout_at(until):
                await waiting
        except BaseException as problem:
            if waiting.done() and not waiting.cancelled() and waiting.exception() is None:
                self._give_back()  # the place arrived while the caller was cancelled
            if isinstance(problem, TimeoutError):
                most = self._max_connections
                raise exhausted(f"all {most} were busy for {timeout_s:.3g} s") from problem
            raise

    def _give_back(self) -> None:
        """Gives a place to the call that has waited longest."""
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
        """Opens a connection for a held place. Raises Unavailable; then the place is returned."""
        connecting = asyncio.get_running_loop().create_task(self._make(origin, until))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            self._abandoned.add(connecting)
            connecting.add_done_callback(partial(self._keep, origin))
            if self.is_closed:
                connecting.cancel()
            raise
        except BaseException:
            self._give_back()
            raise

    def _keep(self, origin: Origin, connecting: asyncio.Task[Connection]) -> None:
        """Keeps a connection whose caller has gone while it was opened."""
        self._abandoned.discard(connecting)
        if connecting.cancelled() or connecting.exception() is not None:
            self._give_back()
        else:
            self.take_back(origin, connecting.result())

    async def _make(self, origin: Origin, until: float) -> Connection:
        self._refuse_if_closed()
        self._make_room()
        connection = await self._client.connect(origin, until)
        try:
            self._refuse_if_closed()
        except Unavailable:
            connection.abort()
            raise
        self._open.add(connection)
        return connection

    def _refuse_if_closed(self) -> None:
        if self.is_closed:
            raise closed()

    def _make_room(self) -> None:
        """Drops closed connections and, if the pool is full, idle ones to other origins."""
        for origin, idle in list(self._idle.items()):
            idle[:] = [one for one in idle if one.is_open]
            while idle and self._lent + self._idling() > self._max_connections:
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]
        self._open = {one for one in self._open if one.is_open}

    def _idling(self) -> int:
        return sum(map(len, self._idle.values()))
