"""Detects a throttle storm, in which the judge refuses every call, and limits the rate during and after it.

A storm begins after a run of 10 refused calls, in the order of sending, without any other call between
them. Then only probes are sent: after 0.25, 0.5 and 1 s, then every 2 s. The first answered probe
ends it, and the rate doubles every 0.4 s up to its former value. After a short storm the rate starts higher,
because a quota that is enforced each second also refuses in runs; for the same reason the required run
becomes four times as long after each storm of under 5 s. An answer to a call of the run, sent
before the probes, means that there was no storm. This is arithmetic without a clock and without waiting.

Worked example: 100 calls a second, a storm from t = 0 to t = 60. Ten calls are refused by t = 0.11, and
about 33 probes follow. The probe at t = 61 is answered at t = 61.3; then 0.8 calls a second are sent, and
after seven doublings, at t = 64.1, 100 calls a second.
"""

from math import inf

RUN, MAX_RUN = 10, 640
"""Length of a run of refused calls that counts as a storm, at first and at most."""

SHORT_S = 5.0
"""A storm shorter than this, seconds, may have been a cluster of refusals."""

PROBE_WAITS_S = (0.25, 0.5, 1.0, 2.0)
"""Waits before the first and later probes, seconds: at most 1.1 calls a second in a minute, with the run."""

DOUBLING_S, FIRST_CALLS_PER_S = 0.4, 0.8
"""Growth of the rate after a storm: from 0.8 calls a second to 1,000 in 4.2 s."""


class Storm:
    """The state of a storm. Calls have numbers in the order of sending.

    calls_per_s: the rate after a storm, `inf` without a limit.
    next_at_s: the time of the next call. doubles_at_s: when `tick` is due.
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
        """Whether only probes are sent."""
        return self._since_s < inf

    def refused(self, number: int) -> bool:
        """Notes a refused call. Returns whether it completes a run that counts as a storm."""
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
        """Begins a storm. last_number: number of the newest call. calls_per_s: the present rate."""
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
        """Notes a sent probe, or a call sent after the storm."""
        if self.is_probing:
            self._probes = min(self._probes + 1, len(PROBE_WAITS_S) - 1)
            self.next_at_s = now_s + PROBE_WAITS_S[self._probes]
        else:
            self.next_at_s = now_s + 1 / self.calls_per_s

    def answered(self, number: int, now_s: float, last_number: int) -> None:
        """Notes an answered call."""
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
        """Doubles the rate if it is due. Returns whether it did."""
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
