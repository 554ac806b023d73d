"""An attempt that has been sent is accounted for until it ends, also when its caller has gone.

A judge bills a call whose connection is closed all the same, and counts it against the quota. Were the
attempt to end with its caller, the limiter and the slots would believe in room that is not there.
"""

import asyncio
from typing import Any

from msgspec import Struct

from judge_service.flow import B, Handler, R, Request


class DetachStatistics(Struct, frozen=True, kw_only=True):
    """in_flight: attempts that have not ended. abandoned: those of them whose caller has gone."""

    in_flight: int
    abandoned: int


class Detach:
    """Runs each attempt as a task of its own, with an envelope of its own.

    When the caller is cancelled before the attempt was sent (`sent_at == 0`), the attempt is
    cancelled and its end awaited, so that its tokens and its slot are back when the caller goes.
    When it was sent, the caller leaves at once and the attempt goes on to its end in the background.
    """

    def __init__(self) -> None:
        self._attended = 0
        self._abandoned: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return "Detach()"

    def statistics(self) -> DetachStatistics:
        """What is under way now."""
        abandoned = len(self._abandoned)
        return DetachStatistics(in_flight=self._attended + abandoned, abandoned=abandoned)

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        attempt = request.again()
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        task = loop.create_task(_attempt(attempt, call_next, ended))
        self._attended += 1
        try:
            await ended  # not the task itself: waiting for it would hand our cancellation on
        except asyncio.CancelledError:
            self._attended -= 1
            await self._leave(task, attempt.sent_at)
            raise
        self._attended -= 1
        return task.result()

    async def aclose(self, grace_s: float) -> None:
        """Waits at most `grace_s` seconds for the abandoned attempts, then cancels them."""
        try:
            if self._abandoned:
                await asyncio.wait(self._abandoned, timeout=grace_s)
        finally:
            for task in self._abandoned:
                task.cancel()
        await self.abandon()

    async def abandon(self) -> None:
        """Cancels the abandoned attempts and waits for their end; what was sent stays charged."""
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    async def _leave(self, task: asyncio.Task[Any], sent_at: float) -> None:
        if task.done():
            _take(task)
            return
        self._abandoned.add(task)
        task.add_done_callback(self._forget)
        if not sent_at:
            task.cancel()
            await asyncio.wait((task,))

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        _take(task)


def _take(task: asyncio.Task[Any]) -> None:
    """Takes an error that nobody waits for any more, which would be reported as lost otherwise."""
    if not task.cancelled():
        task.exception()


async def _attempt(request: Request[B], call_next: Handler[B, R], ended: asyncio.Future[None]) -> R:
    """Says by itself that it has ended: a callback of the task would cost a turn of the loop more."""
    try:
        return await call_next(request)
    finally:
        if not ended.done():  # it is done when the caller was cancelled
            ended.set_result(None)
