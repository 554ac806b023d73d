"""Timers for thousands of calls in flight."""

import asyncio
from collections.abc import Callable
from math import ceil
from typing import Any

SLOTS_PER_S = 1000
"""The event loop keeps time no finer than a millisecond."""


class Alarms:
    """Calls functions after a delay. One timer of the loop serves all that are due in the same millisecond.

    A timer for each call costs the loop more heap work and more turns: 116 us a call instead of 99
    with 2,000 in flight (loadtest/simulator_cost.py, mean of three rounds).
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._slots: dict[int, list[tuple[Callable[[Any], None], Any]]] = {}
        self._timers: dict[int, asyncio.TimerHandle] = {}

    def after(self, delay_s: float, callback: Callable[[Any], None], argument: Any) -> None:
        """Calls `callback(argument)` after `delay_s` seconds, up to a millisecond later."""
        slot = ceil((self._loop.time() + delay_s) * SLOTS_PER_S)
        waiting = self._slots.get(slot)
        if waiting is None:
            waiting = self._slots[slot] = []
            self._timers[slot] = self._loop.call_at(slot / SLOTS_PER_S, self._ring, slot)
        waiting.append((callback, argument))

    def cancel(self) -> None:
        """Drops all pending calls."""
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._slots.clear()

    def _ring(self, slot: int) -> None:
        del self._timers[slot]
        for callback, argument in self._slots.pop(slot):
            callback(argument)

    def __repr__(self) -> str:
        return f"<Alarms waiting={sum(map(len, self._slots.values()))}>"
