"""What to do while the judge refuses everything: probe, and come back quickly. Arithmetic alone."""

from math import inf

RUN = 10
MAX_RUN = 640
SHORT_S = 5.0
PROBE_WAITS_S = (0.25, 0.5, 1.0, 2.0)
DOUBLING_S = 0.4
FIRST_CALLS_PER_S = 0.8


class Storm:
    """Recognises a run of refusals, paces the probes in it and the way back."""

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
        return self._since_s < inf

    def refused(self, number: int) -> bool:
        """Whether this refusal makes a storm."""
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
        if self.is_probing:
            self._probes = min(self._probes + 1, len(PROBE_WAITS_S) - 1)
            self.next_at_s = now_s + PROBE_WAITS_S[self._probes]
        else:
            self.next_at_s = now_s + 1 / self.calls_per_s

    def answered(self, number: int, now_s: float, last_number: int) -> None:
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
