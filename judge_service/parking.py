"""Waiting for something that others hand out. The one primitive under every queue of this package.

Two things go wrong in hand-made queues of futures: what was handed to a caller that is cancelled in the same
turn of the event loop is lost, and a caller that gave up is handed something all the same. `Turn` rules out
both. It does not decide who is next: that is the business of the queue that holds the turns (`ParkingLot` is
first come, first served; the gate's `FairQueue` is fair between lanes and jobs).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turn(Generic[T]):
    """One caller's wait. `give` or `refuse` ends it, once."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether it was given, refused, or its caller was cancelled: there is nothing to give any more."""
        return self._future.done()

    def give(self, value: T) -> bool:
        """Ends the wait with a value. `False` if its caller was cancelled: the value is free."""
        if self._future.done():
            return False
        self._future.set_result(value)
        return True

    def refuse(self, error: Exception) -> bool:
        """Ends the wait with an error. `False` if its caller was cancelled."""
        if self._future.done():
            return False
        self._future.set_exception(error)
        return True

    async def wait(self, *, leave: Callable[[], None], give_back: Callable[[T], None]) -> T:
        """Returns what `give` was given. Raises what `refuse` was given.

        leave: called when the caller is cancelled before its turn, to take it out of the queue.
        give_back: called with the value when the caller is cancelled in the moment of its turn.
        """
        try:
            return await self._future
        except asyncio.CancelledError:
            if self._future.cancelled() or not self._future.done():
                leave()
            elif self._future.exception() is None:
                give_back(self._future.result())
            raise


class ParkingLot(Generic[T]):
    """Callers that wait, first come, first served."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: deque[Turn[T]] = deque()

    def __repr__(self) -> str:
        return f"ParkingLot({len(self)} wait)"

    def __len__(self) -> int:
        """How many wait; those that were cancelled may still be counted."""
        return len(self._turns)

    async def park(self, give_back: Callable[[T], None]) -> T:
        """Waits for a value. give_back: takes it when the caller is cancelled in the moment of its turn."""
        turn: Turn[T] = Turn()
        self._turns.append(turn)
        return await turn.wait(leave=self._sweep, give_back=give_back)

    def give(self, value: T) -> bool:
        """Hands a value to the caller that has waited longest. `False` if nobody waits."""
        while self._turns:
            if self._turns.popleft().give(value):
                return True
        return False

    def refuse_all(self, error: Callable[[], Exception]) -> None:
        """Ends every wait, each with an error of its own."""
        while self._turns:
            self._turns.popleft().refuse(error())

    def _sweep(self) -> None:
        """Drops cancelled turns from the front, so that a lot nobody gives to does not grow."""
        while self._turns and self._turns[0].is_over:
            self._turns.popleft()
