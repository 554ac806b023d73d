"""A bounded number of connections, the one used last first, and a line for those who wait for one."""

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

    The one that rested last is lent first, so that under less load the others come to their idle
    timeout. Those who wait are served in the order they came.

    A connection that is being made when its caller leaves is finished and kept for the next one:
    asyncio may lose a socket, open, when it is told to stop connecting (`staggered_race`).

    max_connections: open at once, idle ones included.
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
        """A connection that rested, at once; `None` if there is none, or no right to one more."""
        if self._lent >= self._max_connections:
            return None
        connection = self._rested(origin)
        if connection is not None:
            self._lent += 1
        return connection

    async def open(self, origin: Origin, until: float, timeout_s: float) -> Connection:
        """A connection for a call that `lend` has none for: waits in line, and connects.

        until: the loop's time at which waiting ends; timeout_s: what that was at the start.

        Raises Unavailable, uncharged: nothing of the call has left.
        """
        if self._lent < self._max_connections:
            self._lent += 1
        else:
            await self._wait(until, timeout_s)
        return self._rested(origin) or await self._connect(origin, until)

    def take_back(self, origin: Origin, connection: Connection) -> None:
        """Takes a connection back whose call has ended, and closes it if it is not to be used again."""
        if self.is_closed or not connection.rest():
            connection.abort()
        else:
            self._idle.setdefault(origin, []).append(connection)
        self._give_back()

    async def aclose(self) -> None:
        """Closes every connection. Calls on the wire fail, and those who wait are told."""
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
        """Makes one, for the right that is held. Raises Unavailable; then the right is given back."""
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
        """Keeps a connection whose caller has left while it was made."""
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
        """Drops what has ended, and what idles at other origins when there is no room for one more."""
        for origin, idle in list(self._idle.items()):
            idle[:] = [one for one in idle if one.is_open]
            while idle and self._lent + self._idling() > self._max_connections:
                idle.pop(0).abort()
            if not idle:
                del self._idle[origin]
        self._open = {one for one in self._open if one.is_open}

    def _idling(self) -> int:
        return sum(map(len, self._idle.values()))
