"""The retry budget: limits retries, and tells whether the judge works."""

from msgspec import Struct

MAX_FAILED, MIN_FAILED, HEALTH_S = 0.1, 5, 3
"""A judge works if at most a tenth of the attempts of 3 s failed (then three failures in a row happen to one
call in a thousand), or fewer than five, which may be chance."""

WINDOW_S = 10
"""How long a call counts for the budget (Finagle's default time to live of a deposit)."""


class RetryBudgetStatistics(Struct, frozen=True, kw_only=True):
    """calls, retries, failures: of the last 10 s."""

    calls: int
    retries: int
    failures: int


class RetryBudget:
    """Limits retries to a share of the calls of the last 10 s, plus a number per second.

    A limit of attempts alone is not enough: if everything fails, three attempts for each call are
    three times the load. The algorithm is Finagle's token budget (finagle.github.io/blog/2016/02/08/
    retry-budgets): a call deposits `ratio` tokens, a retry takes one, both expire after
    10 s, and a reserve of `per_s * 10` tokens lets a service with few calls retry. The implementation has ten
    slots of one second with whole numbers, so a call costs one addition.

    Worked example with the defaults: 1,000 calls in the last 10 s deposit 200 tokens, and the reserve is
    100, so 300 of these calls can be retried.

    ratio: 0.2 and per_s: 10 are Finagle's defaults.
    """

    def __init__(self, *, ratio: float, per_s: float) -> None:
        self.ratio = ratio
        self.per_s = per_s
        self._calls = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S
        self._failures = [0] * WINDOW_S
        self._second = 0

    def __repr__(self) -> str:
        return f"{self.ratio * 100:g} % + {self.per_s:g}/s"

    def statistics(self) -> RetryBudgetStatistics:
        """The counts, up to the last call."""
        return RetryBudgetStatistics(
            calls=sum(self._calls), retries=sum(self._retries), failures=sum(self._failures)
        )

    def count_call(self, now_s: float) -> None:
        """Counts a first attempt."""
        self._move_to(now_s)
        self._calls[self._second % WINDOW_S] += 1

    def count_failure(self, now_s: float) -> None:
        """Counts a failed attempt; not for throttled ones."""
        self._move_to(now_s)
        self._failures[self._second % WINDOW_S] += 1

    def is_well(self, now_s: float) -> bool:
        """Whether few of the attempts of the last 3 s failed."""
        self._move_to(now_s)
        recent = [(self._second - ago) % WINDOW_S for ago in range(HEALTH_S)]
        failures = sum(self._failures[second] for second in recent)
        attempts = sum(self._calls[second] + self._retries[second] for second in recent)
        return failures < MIN_FAILED or failures <= MAX_FAILED * attempts

    def take(self, now_s: float) -> bool:
        """Takes a retry from the budget. `False` if it is empty."""
        self._move_to(now_s)
        allowed = self.ratio * sum(self._calls) + self.per_s * WINDOW_S
        if sum(self._retries) + 1 > allowed:
            return False
        self._retries[self._second % WINDOW_S] += 1
        return True

    def _move_to(self, now_s: float) -> None:
        second = int(now_s)
        if second == self._second:
            return
        for past in range(max(self._second + 1, second - WINDOW_S + 1), second + 1):
            for counts in (self._calls, self._retries, self._failures):
                counts[past % WINDOW_S] = 0
        self._second = second
