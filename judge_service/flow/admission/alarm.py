"""An alarm that calls a function at a time of the loop's clock, and is rescheduled as rarely as possible."""

import asyncio
from collections.abc import Callable
from math import inf


class Alarm:
    """Rings once. An alarm that rings too early is left alone: its owner sets it again when it rings.

    ring: called at the time that `set` was given, or at an earlier one.
    """

    __slots__ = ("_at_s", "_handle", "_ring")

    def __init__(self, ring: Callable[[], None]) -> None:
        self._ring = ring
        self._handle: asyncio.TimerHandle | None = None
        self._at_s = inf  # a handle of uvloop does not say when it is due

    def __repr__(self) -> str:
        return f"Alarm({self._at_s:g} s)" if self.is_set else "Alarm()"

    @property
    def is_set(self) -> bool:
        """Whether it will ring."""
        return self._handle is not None

    def set(self, at_s: float) -> None:
        """Rings at `at_s` at the latest; at `inf` nothing changes."""
        if at_s < inf and (self._handle is None or at_s < self._at_s):
            self.stop()
            self._at_s = at_s
            self._handle = asyncio.get_running_loop().call_at(at_s, self._on_time)

    def stop(self) -> None:
        """Cancels the alarm."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _on_time(self) -> None:
        self._handle = None
        self._ring()
