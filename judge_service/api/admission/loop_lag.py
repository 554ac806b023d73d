"""Measures the lag of the event loop: a large lag means that the service's CPU is the bottleneck."""

import asyncio
from typing import Self

PERIOD_S = 0.05

BEHIND_S = 0.05
"""Duration of a loop iteration, seconds, from which the loop is overloaded."""


class LoopLag:
    """Wakes up every `PERIOD_S`, and measures the delay. A context manager on its event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0
        self.lag_s = 0.0

    def __repr__(self) -> str:
        return f"<LoopLag {self.lag_s * 1000:.0f} ms>"

    def __enter__(self) -> Self:
        self._set()
        return self

    def __exit__(self, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    @property
    def is_behind(self) -> bool:
        """Whether the last iteration was too long, or the present one already is."""
        return self.lag_s > BEHIND_S or self._loop.time() - self._due > BEHIND_S

    def _set(self) -> None:
        self._due = self._loop.time() + PERIOD_S
        self._timer = self._loop.call_at(self._due, self._wake)

    def _wake(self) -> None:
        self.lag_s = self._loop.time() - self._due
        self._set()
