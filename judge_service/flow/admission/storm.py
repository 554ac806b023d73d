"""A throttle storm: the judge refuses every call. Recognises it, paces probes in it and the way back.

A storm is a run of 10 refused calls, by the order in which they were sent, with none between them that was
not refused. Then only probes go: after 0.25, 0.5 and 1 s, then every 2 s. The first probe that is answered
ends it, and the rate doubles every 0.4 s up to what it was before. After a short storm it starts higher,
because a quota that is shaped by the second refuses in runs too; for the same reason the run that counts
becomes four times as long after each storm of under 5 s. An answer to a call that was sent in the run,
before the probes, says that it was no storm. Arithmetic alone: no clock, no waiting.

Worked example: 100 calls a second, a storm from t = 0 to t = 60. Ten calls are refused by t = 0.11, and
about 33 probes follow. The probe at t = 61 is answered at t = 61.3; 0.8 calls a second go, and after seven
doublings, at t = 64.1, 100 calls a second.
"""

from math import inf

RUN, MAX_RUN = 10, 640
"""Refused calls in a row that make a storm, at first and at most."""

SHORT_S = 5.0
"""A storm that was over so soon may have been a clump of refusals."""

PROBE_WAITS_S = (0.25, 0.5, 1.0, 2.0)
"""Waits before the first and later probes: within a minute at most 1.1 calls a second, the run included."""

DOUBLING_S, FIRST_CALLS_PER_S = 0.4, 0.8
"""The way back: from 0.8 calls a second to 1,000 in 4.2 s."""


class Storm:
    """The state of a storm. Calls are told by their numbers, in the order in which they were sent.

    calls_per_s: the rate on the way back, `inf` when nothing is held back.
    next_at_s: when the next call may go. doubles_at_s: when `tick` is due.
    """

    def __init__(self) -> None:
        self.calls_per_s = inf
        self.next_at_s = -inf
        self.doubles_at_s = inf
        self.before_per_s = 0.0
        self._run = RUN
        self.run_bits = 0
        self._top = 0
        self._from = 0
        self._since_s = inf
        self._first_probe = 0
        self._probes = 0

    @property
    def is_probing(self) -> bool:
        """Whether only probes go."""
        return self._since_s < inf

    def refused(self, number: int) -> bool:
        """A call was refused. Returns whether it completes a run that makes a storm."""
        if number < self._from or self.is_probing:
            return False
        if number > self._top:
            self.run_bits = self.run_bits << (number - self._top) & ((1 << 2 * MAX_RUN) - 1)
            self._top = number
        self.run_bits |= 1 << (self._top - number)
        ones, run = self.run_bits, 1
        while run < self._run:  # a run of n bits leaves one bit after n - 1 shifts
            step = min(run, self._run - run)
            ones &= ones >> step
            run += step
        if not ones:
            return False
        self._first = self._top - (ones.bit_length() - 1) - self._run + 1
        return True

    def start(self, now_s: float, last_number: int, calls_per_s: float) -> None:
        """A storm begins. last_number: of the newest call. calls_per_s: the rate until now."""
        if self.calls_per_s == inf:
            self.before_per_s = calls_per_s
        self._since_s = now_s
        self._first_probe = last_number + 1
        self._probes = 0
        self.run_bits = 0
        self.calls_per_s = FIRST_CALLS_PER_S
        self.doubles_at_s = inf
        self.next_at_s = now_s + PROBE_WAITS_S[0]

    def sent(self, now_s: float) -> None:
        """A probe, or a call on the way back, goes."""
        if self.is_probing:
            self._probes = min(self._probes + 1, len(PROBE_WAITS_S) - 1)
            self.next_at_s = now_s + PROBE_WAITS_S[self._probes]
        else:
            self.next_at_s = now_s + 1 / self.calls_per_s

    def answered(self, number: int, now_s: float, last_number: int) -> None:
        """A call was answered."""
        if number >= self._from:
            self.run_bits = 0
            self._from = self._top = last_number + 1
        if not self.is_probing or number < self._first:
            return
        took_s = now_s - self._since_s
        self._run = RUN if took_s >= SHORT_S else min(4 * self._run, MAX_RUN)
        self._since_s = inf
        if number < self._first_probe:
            self._end()
            return
        self.calls_per_s = max(FIRST_CALLS_PER_S, self.before_per_s * 2 ** -min(took_s, 12.0))
        self.doubles_at_s = now_s + DOUBLING_S
        self.next_at_s = now_s + 1 / self.calls_per_s

    def tick(self, now_s: float) -> bool:
        """Doubles the rate when it is time. Returns whether it did."""
        if now_s < self.doubles_at_s:
            return False
        self.calls_per_s *= 2
        self.doubles_at_s = now_s + DOUBLING_S
        self.next_at_s = min(self.next_at_s, now_s + 1 / self.calls_per_s)
        if self.calls_per_s >= self.before_per_s:
            self._end()
        return True

    def _end(self) -> None:
        self.calls_per_s = self.doubles_at_s = inf
        self.next_at_s = -inf
