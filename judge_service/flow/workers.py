"""A worker pool: a bounded number of tasks that work through a batch, or through a stream of any length."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from judge_service.parking import ParkingLot

K = TypeVar("K")
J = TypeVar("J")
R = TypeVar("R")

STARTS_A_TURN = 16
"""Jobs that may begin in one turn of the event loop. Beginning costs about 0.1 ms: a thousand at once
would keep everybody else waiting for 100 ms, at the start and again whenever they end together."""


async def work_off(
    jobs: Sequence[J], work: Callable[[J], Awaitable[R]], *, workers: int
) -> list[R]:
    """The results of a batch, in order; at most `workers` jobs at work.

    Cheaper than `work_through` by the queue that results go through there. An error of `work` is
    raised here; it and a cancellation end all that is at work.
    """
    results: list[Any] = [None] * len(jobs)
    left, turns = iter(enumerate(jobs)), _Turns()

    async def take_and_work() -> None:
        for position, job in left:
            await turns.turn()
            results[position] = await work(job)

    tasks = [asyncio.create_task(take_and_work()) for _ in range(min(workers, len(jobs)))]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return results


class _Ended(Struct, frozen=True):
    """A worker has no more to do, or its source or its work failed."""

    problem: Exception | None


async def work_through(
    jobs: AsyncIterable[tuple[K, J]] | Iterable[tuple[K, J]],
    work: Callable[[J], Awaitable[R]],
    *,
    workers: int,
) -> AsyncGenerator[tuple[K, R]]:
    """Results as they are ready, each with its job's key; at most `workers` jobs at work.

    The workers take from one iterator, because gathering 100,000 tasks would stall the loop for
    a second. Each starts the next one when it has its first job, so that there is never more than one
    without a job. An error of the iterator or of `work` is raised here, and closing the generator
    cancels the workers and waits for them.
    """
    source = _Source(jobs)
    finished: asyncio.Queue[tuple[K, R] | _Ended] = asyncio.Queue(
        maxsize=1 + workers // 8  # so that a burst of endings does not put every worker to sleep
    )

    tasks: list[asyncio.Task[None]] = []

    def start_worker() -> None:
        tasks.append(asyncio.create_task(take_and_work()))

    async def take_and_work() -> None:
        ended, is_first = _Ended(None), True
        try:
            while (taken := await source.take()) is not None:
                if is_first and len(tasks) < workers:
                    start_worker()
                is_first = False
                key, job = taken
                await finished.put((key, await work(job)))
        except Exception as problem:  # noqa: BLE001 - the iterator's error belongs to the reader
            ended = _Ended(problem)
        await finished.put(ended)

    start_worker()
    ended_workers = 0
    try:
        while ended_workers < len(tasks):
            item = await finished.get()
            if not isinstance(item, _Ended):
                yield item
                continue
            ended_workers += 1
            if item.problem is not None:
                raise item.problem
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Source:
    """One reader at a time over a plain or an async iterable, as fast as the loop allows."""

    def __init__(self, jobs: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._plain = iter(jobs) if isinstance(jobs, Iterable) else None
        self._async = aiter(jobs) if isinstance(jobs, AsyncIterable) else None
        self._reading = asyncio.Lock()
        self._turns = _Turns()

    async def take(self) -> Any:
        """The next job, `None` when there are no more."""
        await self._turns.turn()
        if self._plain is not None:
            return next(self._plain, None)
        if self._async is None:
            return None
        async with self._reading:
            return await anext(self._async, None)


class _Turns:
    """Lets `STARTS_A_TURN` jobs begin in a turn of the loop, in the order they came."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = STARTS_A_TURN
        self._waiting: ParkingLot[None] = ParkingLot()
        self._is_turning = False

    async def turn(self) -> None:
        """Returns when one more may begin."""
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._next_turn)
        if self._left:
            self._left -= 1
            return
        await self._waiting.park(self._give_back)

    def _give_back(self, _: None) -> None:
        self._left += 1

    def _next_turn(self) -> None:
        self._left = STARTS_A_TURN
        while self._left and self._waiting.give(None):
            self._left -= 1
        self._is_turning = len(self._waiting) > 0
        if self._is_turning:
            self._loop.call_soon(self._next_turn)
