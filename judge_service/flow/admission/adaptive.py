"""An adaptive limit on calls in flight, which falls when the judge becomes slower. Arithmetic only.

It ignores refusals, which the throttle controller (`throttle.py`) handles, and uses only the
latency, as in Gradient2 (Netflix concurrency-limits, `Gradient2Limit.java`): when the short average of
the latency is above 1.5 times the long one while at least half of the limit is in use, the limit moves by
a fifth of the way towards `limit * max(0.5, 1.5 * long / short)`, at most once an episode (a second, or
one and a half latencies). While calls fill the limit it grows by one slot for each answer, which doubles
it every round trip, up to its maximum.

Worked example: limit 64, latency 0.3 s for a long time, then 0.9 s. The short average passes 0.45 s after
about 20 answers; at short = 0.46, long = 0.31 the gradient is 1.5 * 0.31 / 0.46 = 1.01, so nothing changes.
At short = 0.9, long = 0.33 it is 0.55: the limit becomes 64 * (0.8 + 0.2 * 0.55) = 58, then 53 an episode
later, until the long average has caught up with the new latency.

The limit starts at its maximum, so it has no effect for a judge that never becomes slower.
"""

from math import inf

TOLERANCE = 1.5
MIN_GRADIENT = 0.5
SMOOTHING = 0.2
SHORT_SAMPLES, LONG_SAMPLES = 50, 600
"""Weights of the averages. Netflix compares a window's mean with 600 samples; 50 are enough that two
answers with 8 times the median do not count as a slower judge."""

MIN_EPISODE_S = 1.0
EPISODE_LATENCIES = 1.5
"""Long enough for a call that is sent in an episode to be answered in it."""


class AdaptiveLimit:
    """The limit. Times are seconds of one clock; nothing here waits or reads a clock.

    max_slots: where it starts and what it never exceeds, >= 1.
    cuts: how often it was lowered.
    """

    def __init__(self, *, max_slots: int) -> None:
        self._max = max_slots
        self._limit = float(max_slots)
        self._episode_ends_at_s = -inf
        self._short_s = self._long_s = 0.0
        self._samples = 0
        self.cuts = 0

    def __repr__(self) -> str:
        return f"AdaptiveLimit(limit={self.limit})"

    @property
    def limit(self) -> int:
        """Calls that may be in flight, from 1 to the maximum."""
        return int(self._limit)

    def answer(self, latency_s: float, in_flight: int, now_s: float, *, was_full: bool) -> bool:
        """A call was answered, `latency_s` after it was sent. Returns whether the limit moved.

        in_flight: calls in flight with it. was_full: the limit was reached since it last moved.
        """
        self._measure(latency_s)
        if self._short_s > TOLERANCE * self._long_s:
            return self._give_way(in_flight, now_s)
        if self._limit >= self._max or not was_full or now_s < self._episode_ends_at_s:
            return False
        self._limit = min(self._limit + 1, self._max)
        return True

    def _give_way(self, in_flight: int, now_s: float) -> bool:
        is_known = self._samples >= 2 * SHORT_SAMPLES
        if not is_known or in_flight < self._limit / 2 or now_s < self._episode_ends_at_s:
            return False
        gradient = max(TOLERANCE * self._long_s / self._short_s, MIN_GRADIENT)
        self._limit = max(self._limit * (1 - SMOOTHING + SMOOTHING * gradient), 1.0)
        self._episode_ends_at_s = now_s + max(MIN_EPISODE_S, EPISODE_LATENCIES * self._short_s)
        self.cuts += 1
        return True

    def _measure(self, latency_s: float) -> None:
        """Moving averages, plain means until there are enough samples."""
        self._samples += 1
        self._short_s += (latency_s - self._short_s) / min(self._samples, SHORT_SAMPLES)
        self._long_s += (latency_s - self._long_s) / min(self._samples, LONG_SAMPLES)
        if self._long_s > 2 * self._short_s:  # a judge that has become fast again, as in Gradient2
            self._long_s *= 0.95
