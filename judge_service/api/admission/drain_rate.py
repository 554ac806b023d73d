"""How fast work gets done while there is more of it than can be done at once."""

import math
from collections.abc import Callable

MEMORY_S = 10.0
"""Of busy time; older evidence fades by e in that time, so a changed quota shows within seconds."""

STALE_S = 60.0
"""Without a busy moment for so long, nothing is known: quotas and judges change."""

ENOUGH_S = 0.5
"""Of busy time before it is believed; a few completions are chance."""


class DrainRate:
    """Completions per second, counted over the time in which somebody waited.

    Only that time counts: an idle service finishes little because little arrives, and taking that for
    its capacity would refuse the first burst after a quiet hour.

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
        """Told at every arrival and every completion; `finished` samples since the last time."""
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
        """Samples a second, `None` while that is not known."""
        if self._busy_s < ENOUGH_S or self._now() - self._busy_at > STALE_S:
            return None
        return self._finished / self._busy_s
