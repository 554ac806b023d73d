"""Keeps calls whose caller has gone until they end, so that the gate counts them.

A judge charges a call also if its connection is closed, and counts it against the quota. If the call
ended with its caller, the gate would count free quota that does not exist. So a task whose call is on the
wire continues in the background, and any other task is cancelled.
"""

import asyncio
from typing import Any

from msgspec import Struct

from judge_service.flow import Request


class DetachedStatistics(Struct, frozen=True, kw_only=True):
    """abandoned: running tasks whose caller has gone."""

    abandoned: int


class Detached:
    """The tasks whose caller has gone. Shared by all layers that run a call in a separate task."""

    def __init__(self) -> None:
        self._abandoned: set[asyncio.Task[Any]] = set()

    def __repr__(self) -> str:
        return f"Detached({len(self._abandoned)} under way)"

    def statistics(self) -> DetachedStatistics:
        """The running tasks now."""
        return DetachedStatistics(abandoned=len(self._abandoned))

    def leave(self, task: asyncio.Task[Any], request: Request[Any]) -> bool:
        """Handles that the last caller of a task leaves. Returns whether it must wait for the task's end.

        A task whose call is on the wire (`request.sent_at`) continues, and its request is marked so that no
        other attempt follows. Any other task is cancelled; the caller waits for its end, so that its
        tokens and its slot are free when the caller continues.
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
        """Cancels the tasks and waits for their end; sent calls stay charged."""
        for task in self._abandoned:
            task.cancel()
        if self._abandoned:
            await asyncio.wait(self._abandoned)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved here, because asyncio would report it as never retrieved
