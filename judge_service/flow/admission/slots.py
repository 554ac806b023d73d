"""The slots of one target: the number of calls on the wire, and its limit. Arithmetic without a clock.

A call has a slot from the moment of sending to its end. A refused call returns faster than
an answer; if no quota limits the rate, its slot stays taken for about the latency of an answer. Without
that, one slot too many would send hundreds of refused calls a second.

Worked example: a judge accepts 20 concurrent calls of 0.3 s, and there are 21 slots. The 21st call is refused
after 4 ms. If its slot were free at once, there would be 250 refusals and 67 answers a second: a share of
79 %. With the slot taken for 0.3 s there are 3 refusals a second, a share of 5 %.
"""

from collections import deque
from math import inf

from judge_service.flow.admission.adaptive import AdaptiveLimit


class Slots:
    """Counts slots. Times are seconds of one clock; nothing here waits.

    max_in_flight: most calls on the wire at once, >= 1.
    adaptive: lowers the limit when the judge becomes slower; `None` for a constant limit.
    limit: present number of slots, at least 1. in_flight: slots taken by calls.
    """

    __slots__ = ("_adaptive", "_cap", "_held_until_s", "_max", "_was_full", "in_flight", "limit")

    def __init__(self, *, max_in_flight: int, adaptive: AdaptiveLimit | None = None) -> None:
        self._max = self.limit = max_in_flight
        self._adaptive = adaptive
        self._held_until_s: deque[float] = deque()
        self._cap = inf
        self._was_full = False
        self.in_flight = 0

    def __repr__(self) -> str:
        kind = "fixed" if self._adaptive is None else "adaptive"
        return f"Slots({kind}, max_in_flight={self._max})"

    @property
    def held(self) -> int:
        """Slots that stay taken for a time after a refused call."""
        return len(self._held_until_s)

    def cap(self, most: float) -> None:
        """Sets an upper bound from outside (the throttle controller's level), `inf` for none."""
        self._cap = most
        self._set_limit()

    def is_free(self, now_s: float) -> bool:
        """Whether a call may take a slot now."""
        held = self._held_until_s
        if not held:
            return self.in_flight < self.limit
        while held and held[0] <= now_s:
            held.popleft()
        return self.in_flight + len(held) < self.limit

    def take(self) -> None:
        """Takes a free slot for a call."""
        self.in_flight += 1
        if self.in_flight >= self.limit:
            self._was_full = True

    def give_back(self) -> None:
        """Frees the slot of a call."""
        self.in_flight -= 1

    def hold(self, until_s: float) -> None:
        """Ends a refused call, whose slot stays taken until `until_s`."""
        self.in_flight -= 1
        held = self._held_until_s
        held.append(max(until_s, held[-1]) if held else until_s)

    def answer(self, latency_s: float, now_s: float) -> None:
        """Notes an answer; called before the call's slot is freed."""
        adaptive = self._adaptive
        if adaptive is not None and adaptive.answer(
            latency_s, self.in_flight, now_s, was_full=self._was_full
        ):
            self._was_full = False
            self._set_limit()

    def changes_at_s(self) -> float:
        """The time at which a slot becomes free if no call ends, `inf` for never."""
        return self._held_until_s[0] if self._held_until_s else inf

    def _set_limit(self) -> None:
        most = self._max if self._adaptive is None else self._adaptive.limit
        self.limit = most if most <= self._cap else max(1, int(self._cap))
