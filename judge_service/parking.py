"""The waiting primitive under all queues of this package: a caller waits until another task gives it a value.

Queues made of plain futures have two common errors: a value is lost if its receiver is cancelled in the same
iteration of the event loop, and a caller that has left still receives a value. `Turn` prevents both. It does
not decide which caller is next; the queue of the turns does (`ParkingLot` is first come, first served; the
gate's `FairQueue` is fair between lanes and jobs).
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Turn(Generic[T]):
    """The wait of one caller. `give` or `refuse` ends it, once."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: asyncio.Future[T] = asyncio.get_running_loop().create_future()

    @property
    def is_over(self) -> bool:
        """Whether the wait has ended: with a value, with an error, or because its caller was cancelled."""
        return self._future.done()

    def give(self, value: T) -> bool:
        """Ends the wait with a value. `False` if its caller was cancelled; the value is then unused."""
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
        """Returns the value of `give`, or raises the error of `refuse`.

        leave: called when the caller is cancelled before its turn, to remove it from the queue.
        give_back: called with the value when the caller is cancelled after `give` and before it resumes.
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
    """A queue of waiting callers, first come, first served."""

    __slots__ = ("_turns",)

    def __init__(self) -> None:
        self._turns: deque[Turn[T]] = deque()

    def __repr__(self) -> str:
        return f"ParkingLot({len(self)} wait)"

    def __len__(self) -> int:
        """Number of waiting callers; may include cancelled ones."""
        return len(self._turns)

    async def park(self, give_back: Callable[[T], None]) -> T:
        """Waits for a value. give_back: gets it when the caller is cancelled before it resumes."""
        turn: Turn[T] = Turn()
        self._turns.append(turn)
        return await turn.wait(leave=self._sweep, give_back=give_back)

    def give(self, value: T) -> bool:
        """Gives a value to the caller that has waited longest. `False` if no caller waits."""
        while self._turns:
            if self._turns.popleft().give(value):
                return True
        return False

    def refuse_all(self, error: Callable[[], Exception]) -> None:
        """Ends every wait, each with a new error."""
        while self._turns:
            self._turns.popleft().refuse(error())

    def _sweep(self) -> None:
        """Removes cancelled turns from the front, so that a queue without `give` calls does not grow."""
        while self._turns and self._turns[0].is_over:
            self._turns.popleft()
