"""How many calls are on the wire at once."""

import asyncio
from collections import OrderedDict

from msgspec import Struct

from judge_service.flow import B, Handler, R, Request


class ConcurrencyStatistics(Struct, frozen=True, kw_only=True):
    """in_flight: slots taken. waiting: calls that wait for one. limit: slots there are."""

    in_flight: int
    waiting: int
    limit: int


class Concurrency:
    """A semaphore that serves in the order of arrival.

    max_in_flight: slots at the start, at least 1. `limit` changes them at run time: more are handed
        out at once, fewer take effect as calls end.
    """

    def __init__(self, *, max_in_flight: int) -> None:
        self._limit = max_in_flight
        self._in_flight = 0
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()

    def __repr__(self) -> str:
        return f"Concurrency(max_in_flight={self._limit})"

    def statistics(self) -> ConcurrencyStatistics:
        """What is taken now."""
        return ConcurrencyStatistics(
            in_flight=self._in_flight, waiting=len(self._waiting), limit=self._limit
        )

    @property
    def in_flight(self) -> int:
        """Slots taken."""
        return self._in_flight

    @property
    def waiting(self) -> int:
        """Calls that wait for one."""
        return len(self._waiting)

    @property
    def limit(self) -> int:
        """Slots there are."""
        return self._limit

    @limit.setter
    def limit(self, slots: int) -> None:
        self._limit = slots
        self._hand_out()

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if self._in_flight < self._limit:  # then nobody waits: a free slot is handed out at once
            self._in_flight += 1
        else:
            await self._wait()
        try:
            return await call_next(request)
        finally:
            self._give_back()

    async def _wait(self) -> None:
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the slot came together with the cancellation
                self._give_back()
            else:
                self._waiting.pop(turn, None)
            raise

    def _give_back(self) -> None:
        self._in_flight -= 1
        self._hand_out()

    def _hand_out(self) -> None:
        while self._waiting and self._in_flight < self._limit:
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():  # it is done when its caller was cancelled in this very moment
                self._in_flight += 1
                turn.set_result(None)
