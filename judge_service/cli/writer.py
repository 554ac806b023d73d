"""Writes results to the journal: commits them in groups, on a thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from judge_service.cli.journal import Entry, Journal

COMMIT_EVERY_S = 0.02
COMMIT_AT_ROWS = 500
MAX_PENDING_ROWS = 5_000
"""Most results that wait for the disk; with more, judging waits."""


class Writer:
    """Commits results in groups on a separate thread, so that the disk never blocks the event loop.

    acknowledge: called on the loop with the entries of each commit, when they are on disk.
    """

    def __init__(self, journal: Journal, acknowledge: Callable[[Sequence[Entry]], None]) -> None:
        self._journal = journal
        self._acknowledge = acknowledge
        self._pending: list[Entry] = []
        self._due = asyncio.Event()
        self._room = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "journal")
        self._task: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Writer(pending={len(self._pending)}, {self._journal!r})"

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Commits the remaining results, also after a cancellation."""
        self._closing = True
        self._due.set()
        try:
            if self._task is not None:
                await self._task
        finally:
            self._thread.shutdown()

    async def add(self, entry: Entry) -> None:
        """Adds one result. Waits only if `MAX_PENDING_ROWS` results wait for the disk.

        Raises JudgeServiceError if results can no longer be written.
        """
        while len(self._pending) >= MAX_PENDING_ROWS and not self._has_failed():
            self._room.clear()
            await self._room.wait()
        if self._task is not None and self._has_failed():
            self._task.result()
        self._pending.append(entry)
        if len(self._pending) == 1:
            asyncio.get_running_loop().call_later(COMMIT_EVERY_S, self._due.set)
        elif len(self._pending) >= COMMIT_AT_ROWS:
            self._due.set()

    async def known(self, first: int, last: int, *, scored_only: bool) -> dict[int, bytes]:
        """Calls `Journal.known` on the thread."""
        return await asyncio.get_running_loop().run_in_executor(
            self._thread, lambda: self._journal.known(first, last, scored_only=scored_only)
        )

    def _has_failed(self) -> bool:
        return self._task is not None and self._task.done()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._pending or not self._closing:
                await self._due.wait()
                self._due.clear()
                batch, self._pending = self._pending, []
                self._room.set()
                if batch:
                    await loop.run_in_executor(self._thread, self._journal.commit, batch)
                    self._acknowledge(batch)
                if self._closing:
                    self._due.set()
        finally:
            self._room.set()
