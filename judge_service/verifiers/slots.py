"""Slots for programs whose run time nobody knows: an endless loop must not starve the programs behind it.

Of 64 answers on two slots, the first 50 loop until their limit of 2 s. First come, first served, the other
14 wait for 50 s. Here the first two loops have 2 s, because no other waits when they start, and the other 48
get a twentieth of it. Then the 14 run, after 2 s + 48 * 0.1 s / 2 = 4.4 s. The 48 run again, with the whole
limit, and end after 4.4 s + 48 * 2 s / 2 = 52.4 s: 5 % later than first come, first served.

The rule is the one of a multi-level feedback queue with two levels. A program is started again instead of
being paused, because a sandbox cannot be paused; it has no effect outside of its sandbox.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from judge_service.parking import ParkingLot

T = TypeVar("T")

BRIEF = 1 / 20
"""Share of its time limit that a program gets while new ones wait. It is the time that a loop wastes. With
the default limits it is 0.1 s for `code`, where a right answer takes 5 ms in Monty and 50 ms in CPython on
WASI, and 0.25 s for `sql`."""


class FairSlots:
    """A number of slots with two queues, each first come, first served; the queue of new programs goes first.

    Under a lasting overload, programs that need more than the brief time wait until their caller's deadline.
    """

    def __init__(self, slots: int) -> None:
        self._free = slots
        self._new: ParkingLot[None] = ParkingLot()
        self._again: ParkingLot[None] = ParkingLot()

    def __repr__(self) -> str:
        return f"FairSlots({self._free} free, {len(self._new)} new and {len(self._again)} again)"

    async def run(
        self, program: Callable[[float], Awaitable[T]], timed_out: Callable[[T], bool]
    ) -> T:
        """Runs a program in a slot, at most twice, and returns its last result.

        program: takes the share of its time limit that it may use, `BRIEF` or 1.
        timed_out: whether a result is that of a program which did not end in its time.
        """
        async with self._slot(self._new):
            share = BRIEF if len(self._new) else 1.0
            result = await program(share)
        if share == 1.0 or not timed_out(result):
            return result
        async with self._slot(self._again):
            return await program(1.0)

    @asynccontextmanager
    async def _slot(self, queue: ParkingLot[None]) -> AsyncIterator[None]:
        if self._free:
            self._free -= 1
        else:
            await queue.park(self._pass_on)
        try:
            yield
        finally:
            self._pass_on(None)

    def _pass_on(self, _: None) -> None:
        if not (self._new.give(None) or self._again.give(None)):
            self._free += 1
