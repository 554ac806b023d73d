"""uvicorn with a graceful stop for containers.

On SIGTERM or SIGINT the service becomes unready, accepts no new connections, finishes the requests in flight,
answers the rest with 503, and exits with 0. A second signal ends the waiting.
"""

import asyncio
import logging
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

import uvicorn
from fastapi import FastAPI

from judge_service.api.process.protocol import SWEEP_S, Bounds, guarded
from judge_service.garbage_collection import settle_garbage_collection
from judge_service.settings import ServiceSettings

BACKLOG = 4096
"""Most connections that wait to be accepted; all workers of a trainer connect at the same moment."""

KEEP_ALIVE_S = 75.0
"""Idle time of a connection, seconds. It is longer than the 60 s of usual load balancers, so that they close
idle connections: if we did, a request sent at the same moment would be lost."""

ANSWER_S = 1.5
"""Time for the responses to callers that must try again, seconds."""


class Server(uvicorn.Server):
    """One worker."""

    def __init__(self, app: FastAPI, service: ServiceSettings) -> None:
        bounds = Bounds(
            header_timeout_s=service.header_timeout_s,
            body_timeout_s=service.body_timeout_s,
            max_connections=service.max_connections,
        )
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop",
                http=guarded(bounds),
                ws="none",
                lifespan="on",
                proxy_headers=False,
                server_header=False,
                access_log=False,
                log_config=None,
                backlog=BACKLOG,
                timeout_keep_alive=int(KEEP_ALIVE_S),
                timeout_graceful_shutdown=int(service.drain_s + 2 * ANSWER_S) + 1,
            )
        )
        # the application answers callers and writes the log
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        self._app = app
        self._service = service
        self._sweeping: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        settle_garbage_collection()
        self._sweeping = asyncio.create_task(self._sweep())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drains, and then lets uvicorn close."""
        capacity = self._app.state.capacity
        capacity.stop()
        if (jobs := self._app.state.jobs) is not None:
            jobs.stop()
        await self._pause(self._service.unready_s)
        turning_away = asyncio.create_task(self._turn_away())
        try:
            await super().shutdown(sockets)
        finally:
            for task in (turning_away, self._sweeping):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _turn_away(self) -> None:
        """Ends the requests that are still in flight after the drain time."""
        await self._pause(self._service.drain_s)
        for admitted in tuple(self._app.state.admitted):
            admitted.end(self._app.state.capacity.draining())

    async def _pause(self, seconds: float) -> None:
        until = asyncio.get_running_loop().time() + seconds
        while not self.force_exit and (left := until - asyncio.get_running_loop().time()) > 0:  # noqa: ASYNC110 - uvicorn's flag, set in a signal handler
            await asyncio.sleep(min(0.1, left))

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now = asyncio.get_running_loop().time()
            for connection in tuple(self.server_state.connections):
                connection.sweep(now)  # type: ignore[union-attr] # all are GuardedProtocol

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Like uvicorn's, but a handled signal is not raised again, so that the exit code is 0."""
        before = {
            number: signal.signal(number, self.handle_exit)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Drains at the first signal, and ends the waiting at the second."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket that workers can inherit. Raises OSError if the address cannot be used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    bound.set_inheritable(True)
    return bound
