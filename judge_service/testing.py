"""Helpers for tests: an event loop with virtual time, threads that run on it, and a sink that records events.

Tests in virtual time are plain functions, without plug-in or marker:

    def test_the_second_attempt_comes_after_the_wait() -> None:
        async def scenario() -> float:
            loop = asyncio.get_running_loop()
            start = loop.time()
            await asyncio.sleep(3600)
            return loop.time() - start

        assert run_virtual(scenario()) == 3600  # takes under a millisecond

The loop's clock does not follow real time, so a scenario must not wait for sockets, subprocesses or
threads. `loop.set_default_executor(InlineThreads())` makes `asyncio.to_thread` run on the loop.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from msgspec import Struct

from judge_service.telemetry.events import Event

T = TypeVar("T")
E = TypeVar("E", bound=Struct)

START_S = 1000.0
"""Start of a virtual clock, seconds. Not 0, because 0 means "never" in `Request.sent_at`."""


class DeadlockError(RuntimeError):
    """All tasks wait, and no timer can wake one."""


class UnhandledError(RuntimeError):
    """A scenario succeeded, but an error reached the loop's exception handler."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stops while tasks are ready, and then jumps to the next timer.

    Raises DeadlockError with the waiting tasks if a real loop would wait forever.
    """

    def __init__(self) -> None:
        self._now_s = START_S
        super().__init__(_JumpingSelector(self._jump))

    def __repr__(self) -> str:
        return f"<VirtualTimeLoop at {self._now_s:.6f} s>"

    def time(self) -> float:
        """Virtual seconds."""
        return self._now_s

    def stall(self, seconds: float) -> None:
        """Advances the clock while nothing runs, like a blocking call or a frozen process."""
        self._now_s += seconds

    def _jump(self, seconds: float | None) -> None:
        if seconds is None:
            waiting = ", ".join(sorted(_describe(task) for task in asyncio.all_tasks(self)))
            raise DeadlockError(
                f"at {self._now_s:.6f} s nothing is ready and no timer is set; waiting: {waiting};"
                " look for a future that is never set"
            )
        self._now_s += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """A selector that polls without waiting, and advances the clock where a real one would wait."""

    def __init__(self, jump: Callable[[float | None], None]) -> None:
        super().__init__()
        self._jump = jump

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout != 0:
            self._jump(timeout)
        return ready


def _describe(task: asyncio.Task[Any]) -> str:
    return f"{task.get_name()} in {getattr(task.get_coro(), '__qualname__', '?')}"


def run_virtual(scenario: Coroutine[Any, Any, T], *, timeout_s: float | None = None) -> T:
    """Runs a scenario on a new loop in virtual time, and returns its result.

    timeout_s: virtual seconds after which it fails with TimeoutError; by default none, because a
        scenario that hangs raises DeadlockError at once.

    Raises the scenario's errors; DeadlockError; UnhandledError for errors that only reached the loop's
    exception handler (a task's error that was never retrieved, an error in a callback).
    """
    unhandled: list[dict[str, Any]] = []

    async def bounded() -> T:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _loop, context: unhandled.append(context))
        async with asyncio.timeout(timeout_s):
            return await scenario

    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        result = runner.run(bounded())
    if unhandled:
        messages = "; ".join(f"{one['message']}: {one.get('exception')!r}" for one in unhandled)
        raise UnhandledError(messages) from unhandled[0].get("exception")
    return result


class InlineThreads(ThreadPoolExecutor):
    """A pool without threads: work runs at once, on the loop, and takes no virtual time."""

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        """Gives a future that is done. An error of `work` is the future's, as in any pool."""
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - see above
            future.set_exception(error)
        return future


class RecordingSink:
    """A sink that keeps every event, in order, in `events`."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __repr__(self) -> str:
        return f"RecordingSink({len(self.events)} events)"

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one type."""
        return [event for event in self.events if isinstance(event, kind)]
