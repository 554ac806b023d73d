"""A worker pool: a bounded number of tasks that process a batch, or a stream of any length."""

import asyncio
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from typing import Any, Generic, TypeVar

from msgspec import Struct

from judge_service.flow import stray
from judge_service.parking import ParkingLot

K = TypeVar("K")
J = TypeVar("J")
R = TypeVar("R")

STARTS_A_TURN = 16
"""Jobs that may start in one turn of the event loop. A start costs about 0.1 ms, so a thousand at once
would block the loop for 100 ms, at the beginning and again whenever many jobs end together."""


async def work_off(
    jobs: Sequence[J], work: Callable[[J], Awaitable[R]], *, workers: int
) -> list[R]:
    """Returns the results of a batch, in order; at most `workers` jobs run at the same time.

    It is cheaper than `work_through`, because it needs no queue of results. An error of `work` is
    raised here; an error or a cancellation cancels all running jobs.
    """
    results: list[Any] = [None] * len(jobs)
    left, turns = iter(enumerate(jobs)), _Turns()

    async def take_and_work() -> None:
        for position, job in left:
            if not turns.take():
                await turns.wait()
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
    """Reports that a worker has no more jobs, or that its source or its work failed."""

    problem: Exception | None


async def work_through(
    jobs: AsyncIterable[tuple[K, J]] | Iterable[tuple[K, J]],
    work: Callable[[J], Awaitable[R]],
    *,
    workers: int,
) -> AsyncGenerator[tuple[K, R]]:
    """Yields results as they are ready, each with its job's key; at most `workers` jobs run at the same time.

    The workers take jobs from one iterator, because gathering 100,000 tasks would block the loop for
    a second. Each worker starts the next worker when it has its first job, so that at most one worker is
    without a job. An error of the iterator or of `work` is raised here. Closing the generator
    cancels the workers and waits for them. A cancellation that nobody requested is raised as Unavailable.
    """
    pool = _Pool(jobs, work, workers)
    pool.start_worker()
    ended_workers = 0
    try:
        while ended_workers < len(pool.tasks):
            item = pool.results.take() or await pool.results.wait()
            if not isinstance(item, _Ended):
                yield item
                continue
            ended_workers += 1
            if item.problem is not None:
                raise item.problem
    finally:
        for task in pool.tasks:
            task.cancel()
        await asyncio.gather(*pool.tasks, return_exceptions=True)


class _Pool:
    """The workers of one stream. tasks: the workers that were started."""

    def __init__(
        self,
        jobs: AsyncIterable[Any] | Iterable[Any],
        work: Callable[[Any], Awaitable[Any]],
        workers: int,
    ) -> None:
        self._source = _Source(jobs)
        self._work = work
        self._workers = workers
        self.results: _Results[Any] = _Results(
            room=1 + workers // 8  # so that a burst of endings does not put every worker to sleep
        )
        self.tasks: list[asyncio.Task[None]] = []

    def start_worker(self) -> None:
        self.tasks.append(asyncio.create_task(self._take_and_work()))

    async def _take_and_work(self) -> None:
        ended = _Ended(None)
        try:
            await self._work_to_the_end()
        except Exception as problem:  # noqa: BLE001 - the iterator's error belongs to the reader
            ended = _Ended(problem)
        except asyncio.CancelledError as problem:
            broken = stray(problem)
            if broken is None:
                raise
            ended = _Ended(broken)
        if not self.results.put(ended):
            await self.results.put_later(ended)

    async def _work_to_the_end(self) -> None:
        source, results, work = self._source, self.results, self._work
        is_first = True
        while True:
            if not source.has_turn():
                await source.wait_for_turn()
            taken = await source.read() if source.plain is None else next(source.plain, None)
            if taken is None:
                return
            if is_first and len(self.tasks) < self._workers:
                self.start_worker()
            is_first = False
            key, job = taken
            result = (key, await work(job))
            if not results.put(result):
                await results.put_later(result)


class _Results(Generic[R]):
    """A bounded queue of results from many workers to one reader.

    It is cheaper than asyncio.Queue, whose `put` and `get` are coroutines even if no wait is necessary.

    room: most results in the queue; a worker with one more result waits.
    """

    def __init__(self, *, room: int) -> None:
        self._room = room
        self._ready: deque[R] = deque()
        self._reader: ParkingLot[R] = ParkingLot()
        self._writers: ParkingLot[None] = ParkingLot()

    def put(self, result: R) -> bool:
        """Puts a result into the queue. Returns `False` if there is no room for it."""
        if self._reader.give(result):
            return True
        if len(self._ready) >= self._room:
            return False
        self._ready.append(result)
        return True

    async def put_later(self, result: R) -> None:
        """Puts a result into the queue as soon as there is room."""
        await self._writers.park(self._pass_on)
        if not self._reader.give(result):
            self._ready.append(result)

    def take(self) -> R | None:
        """Takes the next result from the queue; `None` if the queue is empty."""
        if not self._ready:
            return None
        result = self._ready.popleft()
        self._writers.give(None)
        return result

    async def wait(self) -> R:
        """Waits for the next result, when the queue is empty."""
        return await self._reader.park(self._ready.appendleft)

    def _pass_on(self, _: None) -> None:
        """Handles a worker that was cancelled at the moment it received room: the next worker gets it."""
        self._writers.give(None)


class _Source:
    """The source of the jobs, a plain or an async iterable. One worker reads it at a time.

    plain: the iterator of a plain iterable, else `None`.
    """

    def __init__(self, jobs: AsyncIterable[Any] | Iterable[Any]) -> None:
        self.plain: Iterator[Any] | None = iter(jobs) if isinstance(jobs, Iterable) else None
        self._async = aiter(jobs) if isinstance(jobs, AsyncIterable) else None
        self._reading = asyncio.Lock()
        turns = _Turns()
        self.has_turn, self.wait_for_turn = turns.take, turns.wait

    async def read(self) -> Any:
        """Reads the next job of an async iterable; `None` at its end."""
        if self._async is None:
            return None
        async with self._reading:
            return await anext(self._async, None)


class _Turns:
    """Limits the jobs that start in one turn of the loop to `STARTS_A_TURN`, in order of arrival."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._left = STARTS_A_TURN
        self._waiting: ParkingLot[None] = ParkingLot()
        self._is_turning = False

    def take(self) -> bool:
        """Returns whether one more job may start now."""
        if not self._is_turning:
            self._is_turning = True
            self._loop.call_soon(self._next_turn)
        if not self._left:
            return False
        self._left -= 1
        return True

    async def wait(self) -> None:
        """Waits until one more job may start."""
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
