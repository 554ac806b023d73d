"""Detects whether Lambda has frozen the process, which it does while no invocation runs."""

import time
from collections.abc import Callable

QUIET_S = 1.0
"""After this time without an invocation, seconds, a freeze is assumed. A wrong assumption costs little."""

Clock = Callable[[], float]


def since_boot_s() -> float:
    """Seconds since the start of the machine, including the time in which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if BOOTTIME else time.monotonic()


BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")


class FreezeDetector:
    """Detects a freeze between invocations by comparing clocks.

    Which clocks run during a freeze depends on its kind: with SIGSTOP all of them, in a paused virtual
    machine perhaps only the wall clock, after it is set again. So a jump of any clock counts, and also a
    wall clock that went back.
    """

    def __init__(
        self, clocks: tuple[Clock, ...] = (time.monotonic, time.time, since_boot_s)
    ) -> None:
        self._clocks = clocks
        self._seen: list[float] | None = None
        self._at_work = 0

    def __repr__(self) -> str:
        return f"<FreezeDetector, {self._at_work} at work>"

    @property
    def is_last(self) -> bool:
        """Whether the calling invocation is the only one that runs."""
        return self._at_work == 1

    def begin(self) -> bool:
        """Notes the start of an invocation. Returns whether the process may have been frozen before it."""
        self._at_work += 1
        if self._seen is None or self._at_work > 1:
            return False
        return any(
            not 0 <= clock() - seen < QUIET_S
            for clock, seen in zip(self._clocks, self._seen, strict=True)
        )

    def end(self) -> None:
        """Notes the end of an invocation."""
        self._at_work -= 1
        self._seen = [clock() for clock in self._clocks]
