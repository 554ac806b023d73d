"""The slots of one target: how many calls are on the wire, and how many may be. Arithmetic alone.

A slot is taken from the moment a call may be sent until it has ended. A refused call comes back faster than
an answer; where no quota paces the calls, its slot stays taken for about the latency of an answer. Without
that, one slot too many would send hundreds of refused calls a second.

Worked example: a judge bears 20 calls of 0.3 s at once and 21 slots are open. The 21st call is refused after
4 ms. If its slot were free at once it would be refused 250 times a second, against 67 answers: a share of
79 %. With the slot held for 0.3 s it is 3 refusals a second, a share of 5 %.
"""

from collections import deque
from math import inf

from judge_service.flow.admission.adaptive import AdaptiveLimit


class Slots:
    """Slots taken and slots there are. Times are seconds of one clock; nothing here waits.

    max_in_flight: most calls on the wire at once, >= 1.
    adaptive: lowers that when the judge becomes slower; `None` leaves it as it is.
    limit: slots there are now, at least 1. in_flight: slots taken by calls.
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
        """Slots that refused calls have left and that stay taken for a while."""
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
        """A call takes a free slot."""
        self.in_flight += 1
        if self.in_flight >= self.limit:
            self._was_full = True

    def give_back(self) -> None:
        """A call gives its slot back."""
        self.in_flight -= 1

    def hold(self, until_s: float) -> None:
        """A refused call gives its slot back, and it stays taken until then."""
        self.in_flight -= 1
        held = self._held_until_s
        held.append(max(until_s, held[-1]) if held else until_s)

    def answer(self, latency_s: float, now_s: float) -> None:
        """A call was answered; called before its slot is given back."""
        adaptive = self._adaptive
        if adaptive is not None and adaptive.answer(
            latency_s, self.in_flight, now_s, was_full=self._was_full
        ):
            self._was_full = False
            self._set_limit()

    def changes_at_s(self) -> float:
        """When a slot becomes free though no call ends, `inf` if none does."""
        return self._held_until_s[0] if self._held_until_s else inf

    def _set_limit(self) -> None:
        most = self._max if self._adaptive is None else self._adaptive.limit
        self.limit = most if most <= self._cap else max(1, int(self._cap))
