"""The reward function that a fine-tuning job calls, thin: a loop, a deadline and an error's form.

One event loop lives on a background thread for the life of the environment, because a client bound
to one loop breaks on the second invocation of `asyncio.run`, and because a notebook (or AWS's own
local pre-flight, which calls this with `context = {}`) has a running loop already. The judge is
opened by the first invocation and kept.

The configuration comes from `JUDGE_...` variables and from the TOML file that `JUDGE_CONFIG` names.
"""

import asyncio
import atexit
import os
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from judge_service.errors import JudgeServiceError, TooManyUnscored, WireError
from judge_service.service import JudgeService, open_service
from judge_service.settings import Settings, load_settings
from judge_service.wire import encode_error, is_http_event

MARGIN_S = 1.0
"""Time left to answer in, after the judge's deadline: encoding 64 rewards takes 1 ms, posting them less
than 100 ms; the rest is for a busy processor."""

CLOSING_S = 5.0
"""How long leaving the process waits for the judge to close; Lambda allows no more than that anyway."""


class Environment:
    """One judge on one background loop, for as long as the Lambda execution environment lives.

    settings: read when the first invocation comes, so that a mistake in them is that invocation's
        error (a failing import would only be reported as a crash of the runtime).
    """

    def __init__(self, settings: Callable[[], Settings]) -> None:
        self._settings = settings
        self._starting = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._judge: asyncio.Task[JudgeService] | None = None
        self._closing = AsyncExitStack()

    def __repr__(self) -> str:
        return f"Environment({'open' if self._judge else 'closed'})"

    def answer(self, event: Any, deadline_s: float | None) -> Any:
        """The reply to one event; several threads may call at once."""
        return self._run(self._answer(event, deadline_s))

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

    async def _answer(self, event: Any, deadline_s: float | None) -> Any:
        judge = await self._opened()
        seconds = judge.settings.deadline_s
        if deadline_s is not None:
            seconds = min(seconds, deadline_s)
        return await judge.answer(event, deadline_s=seconds)

    async def _opened(self) -> JudgeService:
        """The judge; opened once, also when several invocations come at the same time."""
        if self._judge is None or (self._judge.done() and self._judge.exception() is not None):
            self._judge = asyncio.create_task(self._open())
        return await asyncio.shield(self._judge)

    async def _open(self) -> JudgeService:
        return await self._closing.enter_async_context(open_service(self._settings()))

    async def _close(self) -> None:
        self._judge = None
        await self._closing.aclose()


def _run_until_stopped(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    loop.run_forever()
    loop.close()


def _settings_from_environment() -> Settings:
    path = os.environ.get("JUDGE_CONFIG")
    return load_settings(Path(path) if path else None, os.environ)


def _deadline_s(context: Any) -> float | None:
    """Seconds to judge in, from the Lambda context; `None` if there is no such context."""
    remaining = getattr(context, "get_remaining_time_in_millis", None)
    return max(0.0, remaining() / 1000 - MARGIN_S) if remaining else None


ENVIRONMENT = Environment(_settings_from_environment)
atexit.register(ENVIRONMENT.close)


def lambda_handler(event: Any, context: Any) -> Any:
    """Rewards for the rollouts of `event`, in the form of the caller (see `docs/contracts.md`).

    context: the Lambda context, or anything without `get_remaining_time_in_millis`.

    Raises WireError, TooManyUnscored or SettingsError to a caller that sent a bare list, so that the
    platform reports and retries; a caller that sent an HTTP-style event gets them as one.
    """
    try:
        return ENVIRONMENT.answer(event, _deadline_s(context))
    except JudgeServiceError as error:
        if not is_http_event(event):
            raise
        return encode_error(error, _status(error))


def _status(error: JudgeServiceError) -> int:
    statuses: Mapping[type[JudgeServiceError], int] = {WireError: 400, TooManyUnscored: 503}
    return statuses.get(type(error), 500)
