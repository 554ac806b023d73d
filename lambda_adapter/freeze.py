"""Did the process stand still? Lambda freezes it whenever no invocation is at work."""

import time
from collections.abc import Callable

QUIET_S = 1.0
"""Without an invocation for so long, the process is taken for frozen. It costs little to be wrong."""

Clock = Callable[[], float]


def since_boot_s() -> float:
    """Seconds since the start of the machine, those included in which it was suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if BOOTTIME else time.monotonic()


BOOTTIME = hasattr(time, "CLOCK_BOOTTIME")


class FreezeDetector:
    """Counts invocations and looks at the clocks between them.

    Which clocks go on during a freeze depends on how it is done: under SIGSTOP all, in a paused
    machine perhaps only the wall's, after it was set anew. So any of them counts, and a wall clock
    that went back does too.
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
        """Whether the invocation that asks is the only one at work."""
        return self._at_work == 1

    def begin(self) -> bool:
        """An invocation begins. Says whether the process may have been frozen since the last one."""
        self._at_work += 1
        if self._seen is None or self._at_work > 1:
            return False
        return any(
            not 0 <= clock() - seen < QUIET_S
            for clock, seen in zip(self._clocks, self._seen, strict=True)
        )

    def end(self) -> None:
        """An invocation ended."""
        self._at_work -= 1
        self._seen = [clock() for clock in self._clocks]
