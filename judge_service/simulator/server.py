"""The simulator's server: sockets, routes, statistics, start and stop."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import lru_cache
from urllib.parse import unquote

import msgspec

from judge_service.simulator.call_log import CallLogged, Statistics
from judge_service.simulator.calls import Calls
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.dialects import CHAT, CONVERSE, SAGEMAKER
from judge_service.simulator.faults import Fault
from judge_service.simulator.protocol import Connection, HttpRequest, Limits, head

BACKLOG = 4096
"""Thousands of clients may connect at once; the default of 100 would drop some of them."""


class Simulator:
    """A running simulator; made by `simulate`.

    url: its address, such as `http://127.0.0.1:43210`.
    """

    def __init__(
        self,
        config: SimulatorConfig,
        clock: Callable[[], float] | None = None,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.config = config
        self.url = ""
        self._loop = asyncio.get_running_loop()
        self._wall_clock = wall_clock
        self._calls = Calls(config, clock or self._loop.time, wall_clock)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    def script(self, *faults: Fault | None) -> None:
        """Sets the faults of the next calls, in order; `None` is a call without one."""
        self._calls.chance.script(faults)

    def statistics(self) -> Statistics:
        """Counts since the start."""
        quotas = {model: quota.statistics() for model, quota in self._calls.quotas.items()}
        return self._calls.call_log.statistics(len(self._connections), quotas)

    def events(self) -> list[CallLogged]:
        """The last `max_events` calls that ended, oldest first."""
        return list(self._calls.call_log.events)

    def reset(self) -> None:
        """Starts counts, quotas and draws afresh. Call it while no call is in flight."""
        self._calls.reset()

    async def start(self, host: str, port: int) -> None:
        """Listens. Raises OSError when the address is not available."""
        limits = Limits(self.config.max_header_bytes, self.config.max_body_bytes)
        self._server = await self._loop.create_server(
            lambda: Connection(self._route, limits, self._connections), host, port, backlog=BACKLOG
        )
        bound = self._server.sockets[0].getsockname()
        shown = f"[{bound[0]}]" if ":" in bound[0] else bound[0]
        self.url = f"http://{shown}:{bound[1]}"
        self._sweep()

    async def stop(self) -> None:
        """Closes the socket, every connection and every timer."""
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._calls.close()
        if self._server is None:
            return
        self._server.close()
        closed = asyncio.ensure_future(self._server.wait_closed())
        while self._connections or not closed.done():  # a connection may still be arriving
            for connection in tuple(self._connections):
                connection.abort()
            await asyncio.sleep(0)

    def _sweep(self) -> None:
        idle_s = self.config.idle_timeout_s
        for connection in tuple(self._connections):
            connection.close_if_idle(self._loop.time() - idle_s)
        self._sweeping = self._loop.call_later(idle_s / 2, self._sweep)

    def _route(self, request: HttpRequest, connection: Connection) -> None:
        target, method = request.target, request.method
        if method == "POST" and (model := read_model(target)):
            self._calls.begin(CONVERSE, model, request, connection)
        elif method == "POST" and (endpoint := read_endpoint(target)):
            self._calls.begin(SAGEMAKER, endpoint, request, connection)
        elif (method, target) == ("POST", "/v1/chat/completions"):
            self._calls.begin(CHAT, "", request, connection)
        elif (method, target) == ("GET", "/simulator/statistics"):
            self._reply(connection, 200, msgspec.json.encode(self.statistics()))
        elif (method, target) == ("POST", "/simulator/reset"):
            self.reset()
            self._reply(connection, 200, b"{}")
        else:
            self._refuse_route(connection)

    def _refuse_route(self, connection: Connection) -> None:
        headers = "x-amzn-errortype: UnknownOperationException\r\n"
        message = (
            b'{"message":"The simulator knows POST /model/{id}/converse, POST /v1/chat/completions'
        )
        message += b", POST /endpoints/{name}/invocations"
        message += b', GET /simulator/statistics and POST /simulator/reset."}'
        self._reply(connection, 404, message, headers)

    def _reply(self, connection: Connection, status: int, body: bytes, headers: str = "") -> None:
        connection.end(head(status, len(body), headers, self._wall_clock()) + body)

    def __repr__(self) -> str:
        return f"<Simulator {self.url or 'not started'} {self._calls!r}>"


@lru_cache(maxsize=256)
def read_model(target: str) -> str:
    """The decoded model of a Converse path (`us.amazon.nova-lite-v1:0`); empty for other paths."""
    return _between("/model/", target, "/converse")


@lru_cache(maxsize=256)
def read_endpoint(target: str) -> str:
    """The endpoint of an InvokeEndpoint path; empty for other paths."""
    return _between("/endpoints/", target, "/invocations")


def _between(begin: str, target: str, end: str) -> str:
    if target.startswith(begin) and target.endswith(end):
        return unquote(target[len(begin) : -len(end)])
    return ""


@asynccontextmanager
async def simulate(
    config: SimulatorConfig | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    clock: Callable[[], float] | None = None,
    wall_clock: Callable[[], float] = time.time,
) -> AsyncIterator[Simulator]:
    """A context manager: a simulator on the running event loop, listening at its `url`.

    port: 0 takes a free one. clock: of quotas, seconds, the loop's by default. wall_clock: seconds since
    1970, for signatures.

    Raises OSError when the address is not available.
    """
    simulator = Simulator(config or SimulatorConfig(), clock, wall_clock)
    try:
        await simulator.start(host, port)
        yield simulator
    finally:
        await simulator.stop()


def run(
    config: SimulatorConfig,
    host: str = "127.0.0.1",
    port: int = 9090,
    on_ready: Callable[[Simulator], None] = lambda _simulator: None,
) -> Statistics:
    """Runs a simulator until SIGINT or SIGTERM and returns its statistics.

    on_ready: called once it listens, to print its url. Raises OSError when the address is not available.
    """

    async def until_signalled() -> Statistics:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        async with simulate(config, host=host, port=port) as simulator:
            on_ready(simulator)
            await stop.wait()
            return simulator.statistics()

    return asyncio.run(until_signalled())
