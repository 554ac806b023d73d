"""One request's stay: admitted, watched for its caller's leaving, ended early when it must be."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from fastapi import FastAPI, Request

from judge_service.api.access import ANYBODY, Caller, Lane
from judge_service.api.errors import HttpError

TIMEOUT_HEADER = "x-judge-timeout-s"
SHORTEST_WISH_S = 0.01
"""Less could only be a mistake: no judge is that fast."""


class ClientGone(Exception):
    """The caller has left; there is nobody to answer."""


class Stay:
    """Made by `admit`.

    deadline_s: seconds that are left, from entering. tenant, lane: for `job=` and `lane=` of the judge.
    """

    def __init__(self, request: Request, samples: int) -> None:
        self._request = request
        self._app: FastAPI = request.app
        self._samples = samples
        self._caller = caller_of(request)
        self.deadline_s = deadline_of(request)
        self.tenant = self._caller.tenant
        self.lane: Lane = self._caller.lane
        self._task: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._ending: Exception | None = None

    def __repr__(self) -> str:
        return f"<Stay of {self._samples} samples, {self.deadline_s:.1f} s>"

    async def __aenter__(self) -> Self:
        self._app.state.capacity.enter(
            self._caller, samples=self._samples, deadline_s=self.deadline_s
        )
        self._app.state.stays.add(self)
        self._task = asyncio.current_task()
        self._watch = asyncio.create_task(self._watch_caller())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
        self._app.state.stays.discard(self)
        self._app.state.capacity.leave(self._caller, samples=self._samples, finished=kind is None)
        if self._ending is not None:
            await self._absorb_cancellation(kind)
            raise self._ending from None

    def end(self, reason: Exception) -> None:
        """Cancels the work inside; whoever waits for it gets `reason` raised."""
        if self._ending is None and self._task is not None:
            self._ending = reason
            self._task.cancel()

    async def _absorb_cancellation(self, kind: type[BaseException] | None) -> None:
        """Takes back the cancellation that `end` asked for, also when it has not struck yet."""
        if kind is not asyncio.CancelledError:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(0)
        if self._task is not None:
            self._task.uncancel()

    async def _watch_caller(self) -> None:
        while (await self._request.receive())["type"] != "http.disconnect":
            pass
        self.end(ClientGone())


def admit(request: Request, *, samples: int) -> Stay:
    """A place for so many samples, held while an `async with` block runs.

    Inside it the caller is watched: when it leaves, or the service must stop, the work is cancelled.
    The body must have been read before.

    Raises HttpError 413, 429 (over the caller's share) or 503 (full, stopping), with Retry-After, and
    ClientGone.
    """
    return Stay(request, samples)


def refuse_early(request: Request) -> None:
    """Raises what `admit` would raise for one sample, before the body is read."""
    request.app.state.capacity.check(caller_of(request), samples=1, deadline_s=deadline_of(request))


def caller_of(request: Request) -> Caller:
    """Who is calling."""
    caller: Caller = getattr(request.state, "caller", ANYBODY)
    return caller


def deadline_of(request: Request) -> float:
    """Seconds left for this request: `deadline_s` or the caller's own shorter wish, from its arrival.

    Raises HttpError 400 if the wish is no such number.
    """
    seconds: float = request.app.state.judge.settings.deadline_s
    wish = request.headers.get(TIMEOUT_HEADER)
    if wish is not None:
        seconds = min(seconds, _read_wish(wish))
    arrived: float | None = getattr(request.state, "arrived", None)
    if arrived is None:
        return seconds
    return max(0.0, seconds - (asyncio.get_running_loop().time() - arrived))


def _read_wish(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= SHORTEST_WISH_S:
        raise HttpError(
            400,
            "bad_request",
            f"{TIMEOUT_HEADER} must be a number of seconds, at least {SHORTEST_WISH_S}",
        )
    return seconds
