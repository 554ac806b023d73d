"""Quantiles of the judge's latency, learned from its last answers."""

from collections import deque

REMEMBERED = 400
"""Number of stored answers: 20 of them are above the 95th percentile."""

MIN_OBSERVATIONS = 20
"""Fewest answers for a quantile. With fewer, the 95th percentile is just the maximum."""

FRESH_FOR = 20
"""New answers after which the list is sorted again. Sorting 400 numbers each time costs 10 us."""


class Latencies:
    """Quantiles of the backend's latency, from the sending to the answer, without queueing."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=REMEMBERED)
        self._sorted: list[float] = []
        self._unsorted = 0

    def __repr__(self) -> str:
        median_s = self.quantile_s(0.5)
        known = "" if median_s is None else f", median={median_s:.3g} s"
        return f"Latencies(observations={len(self._recent)}{known})"

    def note(self, latency_s: float) -> None:
        """Adds one answer."""
        self._recent.append(latency_s)
        self._unsorted += 1

    def quantile_s(self, share: float) -> float | None:
        """The latency, seconds, that this share, in [0, 1], of the last answers did not exceed.

        `None` while there are fewer than 20 of them.
        """
        if len(self._recent) < MIN_OBSERVATIONS:
            return None
        if not self._sorted or self._unsorted >= FRESH_FOR:
            self._sorted = sorted(self._recent)
            self._unsorted = 0
        return self._sorted[min(int(share * len(self._sorted)), len(self._sorted) - 1)]
