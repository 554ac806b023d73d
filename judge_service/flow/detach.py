"""Calls whose caller has gone: what was sent is accounted for until it ends.

A judge bills a call whose connection is closed all the same, and counts it against the quota. If the call
ended with its caller, the gate would believe in room that is not there. So a task whose call is on the
wire goes on in the background, and a task that waits for something else is cancelled.
"""

import asyncio
from typing import Any

from msgspec import Struct

from judge_service.flow import Request


class DetachedStatistics(Struct, frozen=True, kw_only=True):
    """abandoned: tasks under way whose caller has gone."""

    abandoned: int


class Detached:
    """The tasks whose caller has gone. Shared by all layers that run a call in a task of its own."""

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"Detached({len(self._abandoned)} under way)"

    def statistics(self) -> DetachedStatistics:
        """What is under way now."""
        return DetachedStatistics(abandoned=len(self._abandoned))

    def leave(self, task: asyncio.Task[Any], request: Request[Any]) -> bool:
        """The last caller of a task goes. Returns whether the caller has to wait for the task's end.

        A task whose call is on the wire (`request.sent_at`) goes on, and its request is marked so that no
        other attempt follows. Any other task is cancelled; the caller waits for its end, so that its
        tokens and its slot are back when the caller goes.
        """
        task.add_done_callback(self._forget)
        if task.done():
            return False
        self._abandoned.add(task)
        if request.sent_at:
            request.is_abandoned = True
            return False
        task.cancel()
        return True

    async def aclose(self, grace_s: float) -> None:
        """Waits at most `grace_s` seconds for the tasks, then cancels them."""
        try:
            if self._abandoned:
                await asyncio.wait(self._abandoned, timeout=grace_s)
        finally:
            for task in self._abandoned:
                task.cancel()
        await self.abandon()

    async def abandon(self) -> None:
        """Cancels the tasks and waits for their end; what was sent stays charged."""
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # taken here: nobody waits for it, and asyncio would report it as lost
