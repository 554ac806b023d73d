"""Keeps one judge on one background event loop for the life of the Lambda execution environment."""

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from judge_service.configuration import Configured, Places, Renewal, read_configuration, ttl_s
from judge_service.errors import DeadlineExceeded, JudgeServiceError
from judge_service.service import JudgeService, open_service
from judge_service.settings import Settings
from judge_service.telemetry.sinks import Sinks, open_sinks
from judge_service.telemetry.trace import carry
from judge_service.wire import decode_event, refuse_larger
from lambda_adapter.freeze import FreezeDetector

CLOSING_S = 5.0
"""How long `close` waits for the judge's store and for calls on the wire, seconds."""

TELLING_S = 0.2
"""Time reserved for the error that the judge could not be opened in time, seconds."""

CONFIG_NAME = "judge.toml"
LAYER = Path("/opt")
"""The folder in which Lambda unpacks layers."""


class Invocation(Struct, frozen=True, kw_only=True):
    """The facts of an invocation besides its event.

    ends_at_s: when Lambda will end it, monotonic clock, seconds; `None` without such an end.
    """

    ends_at_s: float | None = None
    request_id: str = ""
    trace_id: str = ""


class Opened(Struct, frozen=True):
    """An open judge, and the sinks of its events."""

    judge: JudgeService
    sinks: Sinks


class Environment:
    """Answers events, from several threads if needed. Opens its judge at the first call.

    settings: read when a judge is opened, instead of those of `environ`.
    environ: `JUDGE_...` variables, credentials and region. `JUDGE_CONFIG` is the place of the settings;
        by default `judge.toml` next to the function's code, or in a layer.

    Nothing is closed when the process ends: Python has no worker threads then, log lines are
    written after each invocation, and leases expire within a second.

    A mistake in the settings is the error of every invocation until it is fixed, because an error
    at import would only be reported as a crash of the runtime.
    """

    def __init__(
        self,
        settings: Callable[[], Settings] | None = None,
        *,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = Places(environ)
        self._renewal: Renewal[Opened] | None = None
        self._freeze = FreezeDetector()

    def __repr__(self) -> str:
        return f"<Environment {self._renewal or 'closed'}>"

    def answer(self, event: Any, invocation: Invocation | None = None) -> Any:
        """The reply to one event. Raises JudgeServiceError."""
        return self._run(self._answer(event, invocation or Invocation()))

    def open(self) -> None:
        """Opens the judge before the first event. If it fails, the first event gets the error."""
        with suppress(JudgeServiceError):
            self._run(self._open_ahead())

    def close(self) -> None:
        """Closes the judge and ends the loop; the environment can be used again after it."""
        with self._starting:
            loop, self._loop = self._loop, None
        if loop is not None:
            asyncio.run_coroutine_threadsafe(self._close(), loop).result(CLOSING_S)
            loop.call_soon_threadsafe(loop.stop)

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        future = asyncio.run_coroutine_threadsafe(work, self._started_loop())
        try:
            return future.result()
        except BaseException:  # a KeyboardInterrupt in a notebook must stop the work as well
            future.cancel()
            raise

    def _started_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(
                    target=_run_until_stopped, args=(self._loop,), name="judge", daemon=True
                ).start()
            return self._loop

    async def _answer(self, event: Any, invocation: Invocation) -> Any:
        was_frozen = self._freeze.begin()
        try:
            async with AsyncExitStack() as closing:
                closing.enter_context(
                    carry(request_id=invocation.request_id, trace_id=invocation.trace_id)
                )
                opened = await self._opened(closing, invocation.ends_at_s)
                if was_frozen:
                    opened.judge.thaw()
                closing.push_async_callback(self._make_ready_to_freeze, opened)
                return await self._reply(opened.judge, event, invocation.ends_at_s)
        finally:
            self._freeze.end()

    async def _opened(self, closing: AsyncExitStack, ends_at_s: float | None) -> Opened:
        if self._renewal is None:
            self._renewal = Renewal(self._read, self._open, ttl_s=ttl_s(self._environ))
        until = None if ends_at_s is None else ends_at_s - TELLING_S
        try:
            async with asyncio.timeout_at(until):
                return await closing.enter_async_context(self._renewal.use())
        except TimeoutError:
            raise DeadlineExceeded(
                "the judge was not open before the function's timeout; raise the function's"
                " timeout (60 s is good), and its memory if it starts slowly"
            ) from None

    async def _open_ahead(self) -> None:
        async with AsyncExitStack() as closing:
            await self._opened(closing, None)

    async def _reply(self, judge: JudgeService, event: Any, ends_at_s: float | None) -> Any:
        settings, function = judge.settings, judge.settings.function
        seconds = settings.deadline_s
        if ends_at_s is not None:
            left_s = ends_at_s - asyncio.get_running_loop().time()
            seconds = min(seconds, max(0.0, left_s - function.margin_s))
        refuse_larger(event, settings.wire.max_event_bytes)
        if isinstance(event, dict) and "Records" in event:
            from lambda_adapter import rollout_queue  # noqa: PLC0415 - for functions behind a queue

            if rollout_queue.is_queue_event(event):
                return await rollout_queue.answer_queue(
                    judge, event, deadline_s=seconds, environ=self._environ
                )
        return await judge.answer_batch(
            decode_event(event),
            deadline_s=seconds,
            late=function.at_deadline,
            max_reply_bytes=function.max_reply_bytes,
        )

    async def _make_ready_to_freeze(self, opened: Opened) -> None:
        if self._freeze.is_last:
            await opened.judge.rest()
        await opened.sinks.aclose()

    async def _read(self) -> Configured:
        if self._settings is not None:
            return Configured(self._settings())
        place = await asyncio.to_thread(place_of, self._environ)  # it reads the disk
        return await read_configuration(place, self._environ, self._places)

    @asynccontextmanager
    async def _open(self, configured: Configured) -> AsyncIterator[Opened]:
        settings, environ = configured.settings, self._environ
        sinks = open_sinks(settings.logs, score_range=settings.wire.score_range, environ=environ)
        try:
            async with open_service(
                settings, environ=environ, sink=sinks.sink, stand_in=False
            ) as judge:
                yield Opened(judge, sinks)
        finally:
            await sinks.aclose()

    async def _close(self) -> None:
        if self._renewal is not None:
            await self._renewal.aclose()
            self._renewal = None
        await self._places.aclose()


def place_of(environ: Mapping[str, str]) -> str | None:
    """The place of the settings, `None` if they are in the environment alone."""
    if named := environ.get("JUDGE_CONFIG"):
        return named
    root = environ.get("LAMBDA_TASK_ROOT")
    if root is None:
        return None
    places = (Path(root) / CONFIG_NAME, LAYER / CONFIG_NAME)
    return next((str(place) for place in places if place.is_file()), None)


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
