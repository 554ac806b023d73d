"""A bounded number of workers over a stream of jobs of any length."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, TypeVar

from msgspec import Struct

K = TypeVar("K")
J = TypeVar("J")
R = TypeVar("R")

STARTS_A_TURN = 16
"""Jobs that may begin in one turn of the event loop. Beginning costs about 0.1 ms: a thousand at once
would keep everybody else waiting for 100 ms, at the start and again whenever they end together."""


class _Ended(Struct, frozen=True):
    """A worker has no more to do, or its source or its work failed."""

    problem: Exception | None


async def work_through(
    jobs: AsyncIterable[tuple[K, J]] | Iterable[tuple[K, J]],
    work: Callable[[J], Awaitable[R]],
    *,
    window: int,
) -> AsyncGenerator[tuple[K, R]]:
    """Results as they are ready, each with its job's key; at most `window` jobs at work.

    `window` workers take from one iterator, because gathering 100,000 tasks would stall the loop for
    a second. An error of the iterator or of `work` is raised here, and closing the generator
    cancels the workers and waits for them.
    """
    source = _Source(jobs)
    finished: asyncio.Queue[tuple[K, R] | _Ended] = asyncio.Queue(
        maxsize=1 + window // 8  # so that a burst of endings does not put every worker to sleep
    )

    async def take_and_work() -> None:
        ended = _Ended(None)
        try:
            while (taken := await source.take()) is not None:
                key, job = taken
                await finished.put((key, await work(job)))
        except Exception as problem:  # noqa: BLE001 - the iterator's error belongs to the reader
            ended = _Ended(problem)
        await finished.put(ended)

    workers = [asyncio.create_task(take_and_work()) for _ in range(window)]
    try:
        running = len(workers)
        while running:
            item = await finished.get()
            if not isinstance(item, _Ended):
                yield item
                continue
            running -= 1
            if item.problem is not None:
                raise item.problem
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)


class _Source:
    """One reader at a time over a plain or an async iterable, who lets others run now and then."""

    def __init__(self, jobs: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._plain = iter(jobs) if isinstance(jobs, Iterable) else None
        self._async = aiter(jobs) if isinstance(jobs, AsyncIterable) else None
        self._lock = asyncio.Lock()
        self._taken = 0

    async def take(self) -> Any:
        """The next job, `None` when there are no more."""
        async with self._lock:
            self._taken += 1
            if self._taken % STARTS_A_TURN == 0:
                await asyncio.sleep(0)  # those who wait for the lock now get it one a turn
            if self._plain is not None:
                return next(self._plain, None)
            return None if self._async is None else await anext(self._async, None)
