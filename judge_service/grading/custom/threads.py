"""Threads for code that may block, never come back, or end the interpreter; ours goes on regardless.

A thread cannot be ended from outside. A call that takes too long is given up: nobody waits for it any
more, another thread takes its place, and its own comes back into use if the call ever ends. So that a
function which always hangs does not fill the process, there are at most so many (docs/decisions/0012).
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
"""Of one grader, those that do not come back included; a Lambda environment has 1,024 at most."""


class OverdueError(Exception):
    """A call did not come back in time. `frame` is where its thread is, `None` if it never began."""

    def __init__(self, frame: FrameType | None) -> None:
        super().__init__("overdue")
        self.frame = frame


class StuckError(Exception):
    """Every thread there may be is held by a call that did not come back."""


class ThreadStatistics(Struct, frozen=True, kw_only=True):
    """threads: started and not ended. lost: of these, held by a call that nobody waits for."""

    threads: int
    lost: int


class Threads:
    """Runs plain functions, each on a thread of its own, the threads used again.

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
        """What `call` gives back.

        timeout_s: from when it begins. deadline: loop seconds, for waiting for a thread as well.

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
        """Ends the threads that rest; the others end when their calls do, if ever, or with the process."""
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
        """On the thread."""
        result = call()
        try:
            loop.call_soon_threadsafe(self._ended, thread, outcome, result)
        except RuntimeError:  # the loop is closed: nobody is left to use the thread
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
    """A daemon, because one that never comes back must not keep the process from ending."""

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        self.ident = thread.ident

    def give(self, call: Callable[[], None] | None) -> None:
        """The next call, or `None` to end."""
        self._calls.put(call)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
