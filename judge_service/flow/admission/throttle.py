"""How fast we dare to go after the judge has refused calls. Arithmetic alone: no clock, no waiting.

Single refusals (another tenant, a quota lower than configured) are met by additive increase and
multiplicative decrease of the rate (AIMD): x0.8 at most once a second, 1 % of the rate back a second.

A storm, in which nothing gets through, is met by probes, and when one is answered by twice as many
every half second, as in TCP's slow start. With AIMD alone it would take 20 s to come down from 100
calls a second to one, and 99 s to come back. The first answer to a call that was sent after the
refusals began shows that it was no storm; then the rate is halved and AIMD goes on from there. Calls
sent earlier prove nothing: an accepted call takes longer than a refusal, so their answers keep coming.
"""

from math import inf

CUT = 0.8
CUT_EVERY_S = 1.0
GROWTH_PER_S = 0.01
MIN_FACTOR = 0.01

STORM_REFUSALS = 10
"""So many refusals with no answer between are taken for a storm."""

PROBES_PER_S = 0.8
"""In a storm of a minute at most 1.1 calls a second may go, those included that went before it was
recognised. With this that holds for up to 18 of them; with 1.0 for 7."""

DOUBLING_S = 0.5
OPEN_CALLS_PER_S = 1000.0
"""Above this pace probing is over; it takes 11 doublings, so at least 5.5 s."""

AFTER_PROBES = 0.5
"""A refusal while probes double: the last step was too much, the one before was not."""

GROWTH_STEP_S = 0.1


class Pace:
    """What refusals have taught.

    calm: nothing is held back; the one thing a caller looks at on its hot path.
    factor: share of the configured rate that may be used, (0, 1].
    calls_per_s: how many calls a second probing allows, `inf` when not probing.
    next_at_s: when probing allows the next call.
    throttled: refusals so far.
    """

    __slots__ = (
        "_cut_at_s",
        "_doubled_at_s",
        "_factor_before",
        "_grown_at_s",
        "_probing_since_s",
        "_refused_in_a_row",
        "_refused_since_s",
        "calls_per_s",
        "calm",
        "factor",
        "next_at_s",
        "throttled",
    )

    def __init__(self) -> None:
        self.calm = True
        self.factor = self._factor_before = 1.0
        self.calls_per_s = inf
        self.throttled = self._refused_in_a_row = 0
        self._cut_at_s = self._grown_at_s = self.next_at_s = -inf
        self._probing_since_s = self._doubled_at_s = self._refused_since_s = -inf

    def __repr__(self) -> str:
        return f"Pace(factor={self.factor:.2f}, calls_per_s={self.calls_per_s:g})"

    def refuse(self, now_s: float, sent_at_s: float) -> None:
        """The judge refused a call."""
        self.grow(now_s)
        if self.calm:
            self.calm, self._refused_in_a_row = False, 0
        if not self._refused_in_a_row:
            self._refused_since_s, self._factor_before = sent_at_s, self.factor
        self.throttled += 1
        self._refused_in_a_row += 1
        if self._refused_in_a_row == STORM_REFUSALS:
            self._start_probing(now_s)
        elif self.calls_per_s == inf and now_s - self._cut_at_s >= CUT_EVERY_S:
            self._cut(now_s, CUT)
        elif PROBES_PER_S < self.calls_per_s < inf:
            self._stop_probing(now_s)

    def answer(self, now_s: float, sent_at_s: float) -> None:
        """The judge answered a call. What was sent before the first refusal proves nothing."""
        if sent_at_s < self._refused_since_s:
            return
        self._refused_in_a_row = 0
        if self.calls_per_s == inf:
            return
        if sent_at_s < self._probing_since_s:  # it was no storm, only too much
            self._stop_probing(now_s)
        elif now_s - self._doubled_at_s >= DOUBLING_S:
            self._doubled_at_s = now_s
            self.calls_per_s *= 2
            self.next_at_s = min(self.next_at_s, now_s + 1 / self.calls_per_s)
            if self.calls_per_s > OPEN_CALLS_PER_S:
                self.calls_per_s = inf

    def grow(self, now_s: float) -> bool:
        """Gives back what the time since the last cut has earned; whether the factor changed."""
        grown_s = now_s - self._grown_at_s
        if grown_s < GROWTH_STEP_S:
            return False
        self._grown_at_s = now_s
        self.factor = min(1.0, self.factor + GROWTH_PER_S * grown_s)
        self.calm = self.factor == 1.0 and self.calls_per_s == inf
        return True

    def let_in(self, now_s: float) -> None:
        """A call goes: the next probe has to wait."""
        self.next_at_s = now_s + 1 / self.calls_per_s

    def _cut(self, now_s: float, by: float) -> None:
        self.factor = max(MIN_FACTOR, self.factor * by)
        self._cut_at_s = self._grown_at_s = now_s

    def _start_probing(self, now_s: float) -> None:
        self.calls_per_s = PROBES_PER_S
        self.factor = self._factor_before
        self._probing_since_s = now_s
        self.next_at_s = now_s + 1 / PROBES_PER_S

    def _stop_probing(self, now_s: float) -> None:
        self.calls_per_s, self.next_at_s = inf, now_s
        self._cut(now_s, AFTER_PROBES)
