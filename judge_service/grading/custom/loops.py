"""Runs async functions that may block on a separate event loop, so that the service's loop does not block."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from judge_service.grading.custom.source import frames_of
from judge_service.grading.custom.threads import OverdueError, StuckError, ThreadStatistics

T = TypeVar("T")

MAX_LOOPS = 8
"""Most event loops of one grader: the one in use, and those that a call blocks forever."""

GRACE_S = 0.25
"""A loop that has not ended a call this long after the call's time limit counts as blocked, seconds."""


class Loops:
    """Runs async functions on one event loop on a separate thread.

    The loop is the same for the whole life of the grader, so that clients kept by the functions work. A loop
    that a call blocks is abandoned, and another one is started.
    """

    def __init__(self, max_loops: int = MAX_LOOPS) -> None:
        self._max_loops = max_loops
        self._current: _Loop | None = None
        self._lost: list[_Loop] = []

    def __repr__(self) -> str:
        return f"<Loops {self.statistics()}>"

    def statistics(self) -> ThreadStatistics:
        lost = sum(loop.is_running() for loop in self._lost)
        return ThreadStatistics(threads=lost + (self._current is not None), lost=lost)

    async def run(self, call: Callable[[], Awaitable[T]], timeout_s: float, deadline: float) -> T:
        """Returns the result of `call`. The call has its own time limit; this handles one that ignores it.

        Raises OverdueError, StuckError.
        """
        home = self._current or self._begin()
        outcome: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        left_s = deadline - asyncio.get_running_loop().time()
        stop = home.start(call, outcome)
        try:
            await asyncio.wait({outcome}, timeout=min(timeout_s, left_s) + GRACE_S)
        finally:
            if not outcome.done():
                outcome.cancel()
                stop()
        if outcome.cancelled():
            self._lose(home)
            raise OverdueError(frames_of(home.ident))
        return outcome.result()

    def close(self) -> None:
        """Ends the loop in use at once, and blocked loops when they run again, if ever."""
        if self._current is not None:
            self._current.end()
            self._current = None

    def _begin(self) -> "_Loop":
        self._lost = [loop for loop in self._lost if loop.is_running()]
        if len(self._lost) + 1 > self._max_loops:
            raise StuckError
        self._current = _Loop()
        return self._current

    def _lose(self, home: "_Loop") -> None:
        """Abandons a loop; the calls on it may still end."""
        if self._current is home:
            self._current = None
            self._lost.append(home)
            home.end(when_idle=True)


class _Loop:
    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ending = False
        self._thread = threading.Thread(target=self._run, name="custom grader's loop", daemon=True)
        self._thread.start()
        self.ident = self._thread.ident

    def is_running(self) -> bool:
        return self._thread.is_alive()

    def start(
        self, call: Callable[[], Awaitable[T]], outcome: asyncio.Future[T]
    ) -> Callable[[], None]:
        """Starts a call whose result goes to `outcome`. Returns a function that stops it."""
        caller, begun = asyncio.get_running_loop(), []

        async def work() -> None:
            result = await call()
            try:
                caller.call_soon_threadsafe(_settle, outcome, result)
            except RuntimeError:  # the caller's loop is closed: no caller is left
                return

        def begin() -> None:
            if not outcome.done():
                task = self._loop.create_task(work())
                begun.append(task)
                self._tasks.add(task)
                task.add_done_callback(self._ended)

        def stop() -> None:
            self._soon(lambda: [task.cancel() for task in begun])

        self._soon(begin)
        return stop

    def end(self, *, when_idle: bool = False) -> None:
        """Stops the loop: cancels its calls, or waits for them with `when_idle`."""
        self._soon(partial(self._end, when_idle))

    def _soon(self, callback: Callable[[], Any]) -> None:
        try:
            self._loop.call_soon_threadsafe(callback)
        except RuntimeError:  # the loop has ended, and with it all its calls
            return

    def _end(self, when_idle: bool) -> None:  # noqa: FBT001 - a callback's
        self._ending = True
        if not when_idle:
            for task in self._tasks:
                task.cancel()
        if not self._tasks:
            self._loop.stop()

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if self._ending and not self._tasks:
            self._loop.stop()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.close()


def _settle(outcome: asyncio.Future[T], result: T) -> None:
    if not outcome.done():
        outcome.set_result(result)
