"""Which part of a shared quota the judge really gives: cut when it throttles, tried again when not."""

import math

from msgspec import Struct

CUT = 0.8
CUT_EVERY_S = 1.0
"""At most one cut a second: what was on its way when the first came says nothing new."""

FLOOR = 0.01
PEACE_S = 2.0
"""Without throttling for so long, an episode is over."""

RESUME = 0.95
"""Up to this part of where the episode began, the way back is quick: doubling every second."""

PROBE_PER_S = 0.01
PROBE_DOUBLES_S = 10.0
"""Beyond it 1 % a second, a pace that doubles every 10 s without throttling."""


class Brake(Struct):
    """Multiplicative decrease, and an increase that remembers where throttling began.

    Plain AIMD would need 95 s to come back from a storm in which everything was throttled; this
    takes 9, and in the calm case it is AIMD with its usual 1 % a second. `lease.lua` mirrors it.
    """

    base: float = 1.0
    resume: float = 1.0
    cut_at_s: float = -math.inf

    def __repr__(self) -> str:
        return f"Brake({self.base:.3g} at the last cut)"

    def part(self, now_s: float) -> float:
        """The part of the quota to deal out now, in (0, 1]."""
        peace_s = now_s - self.cut_at_s - PEACE_S
        if self.base >= 1 or peace_s <= 0:
            return self.base
        quick_s = max(0.0, math.log2(self.resume / self.base))
        if peace_s < quick_s:
            return min(1.0, self.base * math.pow(2, peace_s))
        return min(1.0, self._probed(peace_s - quick_s))

    def pull(self, now_s: float) -> None:
        """The judge has throttled."""
        since_s = now_s - self.cut_at_s
        if since_s < CUT_EVERY_S:
            return
        before = self.part(now_s)
        if since_s > PEACE_S:
            self.resume = before * RESUME
        self.base = max(before * CUT, FLOOR)
        self.cut_at_s = now_s

    def _probed(self, seconds: float) -> float:
        """The integral of a growth of 1 % a second that doubles every 10 s."""
        doublings = min(seconds / PROBE_DOUBLES_S, 20.0)
        gained = PROBE_PER_S * PROBE_DOUBLES_S / math.log(2) * (math.pow(2, doublings) - 1)
        return max(self.base, self.resume) * (1 + gained)
