"""Writes results of a job to disk: commits them in groups, on a thread."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Self

from judge_service.api.jobs.job_file import Result

COMMIT_EVERY_S = 0.02
"""Interval of commits, seconds. A commit waits for the disk once for all its results."""

MAX_PENDING = 2_000
"""Most results that wait for the disk; with more, judging waits."""


class ResultWriter:
    """Commits results in groups. commit: writes results so that they survive a crash."""

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
        """Commits the remaining results, also after a cancellation."""
        self._is_closing = True
        self._due.set()
        if self._task is not None:
            await self._task

    async def add(self, result: Result) -> None:
        """Adds one result. Waits only if `MAX_PENDING` results wait for the disk.

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
