"""Results on their way to the disk: committed in groups, off the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from judge_service.api.jobs.job_file import Result

COMMIT_EVERY_S = 0.02
"""A commit waits for the disk once, however many results are in it."""

MAX_PENDING = 2_000
"""Results that wait for the disk; then judging waits."""


class ResultWriter:
    """Group commit. commit: makes results survive a crash."""

    def __init__(self, commit: Callable[[Sequence[Result]], Awaitable[None]]) -> None:
        self._commit = commit
        self._pending: list[Result] = []
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._is_closing = False
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<ResultWriter {len(self._pending)} pending>"

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commits what is left, also when the work was cancelled."""
        self._is_closing = True
        self._due.set()
        if self._task is not None:
            await self._task

    async def add(self, result: Result) -> None:
        """Takes one result. Waits only when the disk is far behind.

        Raises JobFileError if results can no longer be written.
        """
        while len(self._pending) >= MAX_PENDING and not self._has_failed():
            self._room.clear()
            await self._room.wait()
        if self._task is not None and self._has_failed():
            self._task.result()
        self._pending.append(result)
        self._due.set()

    def _has_failed(self) -> bool:
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        try:
            while self._pending or not self._is_closing:
                await self._due.wait()
                self._due.clear()
                batch, self._pending = self._pending, []
                self._room.set()
                if batch:
                    await self._commit(batch)
                if not self._is_closing:
                    await asyncio.sleep(COMMIT_EVERY_S)
        finally:
            self._room.set()
