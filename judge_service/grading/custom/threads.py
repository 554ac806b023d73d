"""Runs functions that may block, hang or raise anything on separate threads, with a time limit.

A thread cannot be ended from outside. A call that takes too long is abandoned: its caller gets an error,
another thread replaces its thread, which is used again if the call ever ends. The number of threads is
limited, so that a function which always hangs does not exhaust the process (docs/decisions/0012).
"""

import asyncio
import threading
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from types import FrameType
from typing import TypeVar

from msgspec import Struct

from judge_service.grading.custom.source import frames_of
from judge_service.parking import ParkingLot

T = TypeVar("T")

MAX_THREADS = 64
"""Most threads of one grader, including abandoned ones; a Lambda environment allows 1,024."""


class OverdueError(Exception):
    """A call did not return in time. `frame` is its thread's innermost frame, `None` if it did not start."""

    def __init__(self, frame: FrameType | None) -> None:
        super().__init__("overdue")
        self.frame = frame


class StuckError(Exception):
    """All `max_threads` threads are blocked by calls that did not return."""


class ThreadStatistics(Struct, frozen=True, kw_only=True):
    """threads: started and not ended. lost: those of them that are blocked by an abandoned call."""

    threads: int
    lost: int


class Threads:
    """Runs functions, each call on its own thread; threads are used again.

    Belongs to one event loop. The functions must not raise.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._idle: list[_Thread] = []
        self._waiting: ParkingLot[_Thread] = ParkingLot()
        self._threads = self._lost = 0
        self._closed = False

    def __repr__(self) -> str:
        return f"<Threads {self._threads} of {self._max_threads}, {self._lost} lost>"

    def statistics(self) -> ThreadStatistics:
        return ThreadStatistics(threads=self._threads, lost=self._lost)

    async def run(self, call: Callable[[], T], timeout_s: float, deadline: float) -> T:
        """Returns the result of `call`.

        timeout_s: limit of the call from its start. deadline: loop seconds; includes waiting for a thread.

        Raises OverdueError, StuckError.
        """
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout_at(deadline if deadline < float("inf") else None):
                thread = await self._take()
        except TimeoutError:
            raise OverdueError(None) from None
        outcome: asyncio.Future[T] = loop.create_future()
        thread.give(partial(self._work, loop, thread, call, outcome))
        try:
            await asyncio.wait({outcome}, timeout=min(timeout_s, deadline - loop.time()))
        finally:
            if not outcome.done():
                outcome.cancel()
                self._lose()
        if outcome.cancelled():
            raise OverdueError(frames_of(thread.ident))
        return outcome.result()

    def close(self) -> None:
        """Ends the idle threads; the others end with their calls, if ever, or with the process."""
        self._closed = True
        while self._idle:
            self._end(self._idle.pop())

    async def _take(self) -> "_Thread":
        if self._idle:
            return self._idle.pop()
        if self._threads < self._max_threads:
            self._threads += 1
            return _Thread(f"custom grader {self._threads}")
        if self._lost == self._threads:
            raise StuckError
        return await self._waiting.park(self._free)

    def _work(
        self,
        loop: asyncio.AbstractEventLoop,
        thread: "_Thread",
        call: Callable[[], T],
        outcome: asyncio.Future[T],
    ) -> None:
        """Runs on the thread."""
        result = call()
        try:
            loop.call_soon_threadsafe(self._ended, thread, outcome, result)
        except RuntimeError:  # the loop is closed: the thread is no longer needed
            thread.give(None)

    def _ended(self, thread: "_Thread", outcome: asyncio.Future[T], result: T) -> None:
        if outcome.cancelled():
            self._lost -= 1
        else:
            outcome.set_result(result)
        self._free(thread)

    def _free(self, thread: "_Thread") -> None:
        if self._waiting.give(thread):
            return
        if self._closed:
            self._end(thread)
        else:
            self._idle.append(thread)

    def _lose(self) -> None:
        self._lost += 1
        if self._lost == self._max_threads:
            self._waiting.refuse_all(StuckError)

    def _end(self, thread: "_Thread") -> None:
        self._threads -= 1
        thread.give(None)


class _Thread:
    """A daemon thread, because a call that never returns must not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        self.ident = thread.ident

    def give(self, call: Callable[[], None] | None) -> None:
        """Gives the thread its next call, or `None` to end it."""
        self._calls.put(call)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
