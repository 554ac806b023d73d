"""Measures the drain rate: samples finished a second while other samples wait."""

import math
from collections.abc import Callable

MEMORY_S = 10.0
"""Time constant of the average, seconds of busy time; a changed quota has an effect within seconds."""

STALE_S = 60.0
"""After this time without busy time the rate is unknown, seconds, because quotas and judges change."""

ENOUGH_S = 0.5
"""Least busy time for a valid rate, seconds; a few completions are chance."""


class DrainRate:
    """The rate of completions over the time in which work waited (busy time).

    Idle time does not count: an idle service finishes little because little arrives, and with such a rate it
    would refuse the first burst after a quiet hour.

    For example, 300 samples finish in 60 s, of which the service was busy for 3 s with 240 of them. The rate
    is about 240 / 3 = 80 samples/s, not 300 / 60 = 5.

    now: clock, seconds.
    """

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at = now()
        self._was_busy = False
        self._busy_at = -math.inf
        self._busy_s = self._finished = 0.0

    def __repr__(self) -> str:
        return f"<DrainRate {self.per_s()} a second>"

    def observe(self, *, finished: int, is_busy: bool) -> None:
        """Updates the rate at each arrival and completion. finished: samples since the last call."""
        now = self._now()
        passed, self._at = now - self._at, now
        if self._was_busy and is_busy:
            faded = math.exp(-passed / MEMORY_S)
            self._busy_s = self._busy_s * faded + passed
            self._finished = self._finished * faded + finished
        if is_busy:
            self._busy_at = now
        self._was_busy = is_busy

    def per_s(self) -> float | None:
        """Samples a second, `None` while unknown."""
        if self._busy_s < ENOUGH_S or self._now() - self._busy_at > STALE_S:
            return None
        return self._finished / self._busy_s
