"""Doubles and clocks for tests, ours and yours: time that jumps, and a sink that remembers.

Tests under virtual time are plain functions, with no plug-in and no marker:

    def test_the_second_attempt_comes_after_the_wait() -> None:
        async def scenario() -> float:
            loop = asyncio.get_running_loop()
            start = loop.time()
            await asyncio.sleep(3600)
            return loop.time() - start

        assert run_virtual(scenario()) == 3600  # takes under a millisecond

The loop is purely virtual: sockets, subprocesses and threads (`asyncio.to_thread`) are outside its
clock, so a scenario must not wait for them.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from msgspec import Struct

from judge_service.telemetry.events import Event

T = TypeVar("T")
E = TypeVar("E", bound=Struct)

START_S = 1000.0
"""What a new virtual clock shows. Not 0, because 0 means "never" in `Request.sent_at`."""


class DeadlockError(RuntimeError):
    """Every task waits, and no timer is set that could wake one."""


class UnhandledError(RuntimeError):
    """A scenario ended well, but the loop was handed an error that nobody had taken."""


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while anything is ready, then jumps to the next timer.

    Raises DeadlockError, naming the waiting tasks, where a real loop would wait for ever.
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
        """Lets time pass while nothing runs, as a blocking call or a frozen process does."""
        self._now_s += seconds

    def _jump(self, seconds: float | None) -> None:
        if seconds is None:
            waiting = ", ".join(sorted(_describe(task) for task in asyncio.all_tasks(self)))
            raise DeadlockError(
                f"at {self._now_s:.6f} s nothing is ready and no timer is set; waiting: {waiting};"
                " look for a future that nobody sets"
            )
        self._now_s += seconds


class _JumpingSelector(selectors.DefaultSelector):
    """Asks the operating system without waiting, and jumps where a real one would wait."""

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
    """Runs a scenario on a loop of its own under virtual time, and gives its result.

    timeout_s: virtual seconds after which it fails with TimeoutError; by default none, because a
        scenario that hangs is found as a DeadlockError at once.

    Raises what the scenario raises; DeadlockError; UnhandledError for errors that only reached the loop's
    exception handler (a task's error that nobody retrieved, an error in a callback).
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
