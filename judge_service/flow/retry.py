"""Another attempt after a failure that may pass: when, how often, and at whose expense.

The wait before retry n (n = 1, 2, ...) is `random() * min(cap_s, base_s * 2**(n - 1))` seconds, which
is full jitter (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). With the defaults
that is up to 50 ms, then up to 100 ms; after throttling up to 1, 2, 4, 5, 5 ... s. An error may bring
its own base, and a judge that says how long to wait is obeyed up to 30 s.

tenacity supplies the stop and wait policies. It is entered only after a first failure, because it
costs 22 us a successful call.
"""

import asyncio
import random
from collections.abc import Callable

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_exponential

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import Retried, Sink

MAX_RETRY_AFTER_S = 30.0
"""A judge that asks for more is asked again after this: it may have meant milliseconds."""

WINDOW_S = 10
"""How long a call counts for the budget (Finagle's default time to live of a deposit)."""


class RetryBudgetStatistics(Struct, frozen=True, kw_only=True):
    """calls, retries: of the last 10 s."""

    calls: int
    retries: int


class RetryBudget:
    """Retries may be a share of the calls of the last 10 s, and so many a second besides.

    A budget, not only a cap on attempts, because when everything fails three attempts each are
    three times the load. Form: Finagle's token budget (finagle.github.io/blog/2016/02/08/
    retry-budgets): a call deposits `ratio` tokens, a retry takes one, both are forgotten after
    10 s, and a reserve of `per_s * 10` tokens lets a service with few calls retry at all. Here in ten
    slots of one second that hold whole numbers, so a call costs one addition.

    ratio: 0.2 and per_s: 10 are Finagle's own defaults.
    """

    def __init__(self, *, ratio: float, per_s: float) -> None:
        self.ratio = ratio
        self.per_s = per_s
        self._calls = [0] * WINDOW_S
        self._retries = [0] * WINDOW_S
        self._second = 0

    def __repr__(self) -> str:
        return f"{self.ratio * 100:g} % + {self.per_s:g}/s"

    def statistics(self) -> RetryBudgetStatistics:
        """What was counted, up to the last call."""
        return RetryBudgetStatistics(calls=sum(self._calls), retries=sum(self._retries))

    def count_call(self, now_s: float) -> None:
        """Notes a first attempt."""
        self._move_to(now_s)
        self._calls[self._second % WINDOW_S] += 1

    def take(self, now_s: float) -> bool:
        """Takes a retry out of the budget, if there is one."""
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
            self._calls[past % WINDOW_S] = self._retries[past % WINDOW_S] = 0
        self._second = second


class RetryStatistics(Struct, frozen=True, kw_only=True):
    """retries: made so far. The others count calls given up, by what forbade another attempt."""

    retries: int
    out_of_attempts: int
    out_of_time: int
    out_of_budget: int


class _Tries(Struct):
    """Attempts of one call that failed so far, throttled ones apart."""

    failed: int = 0
    throttled: int = 0


class Retry:
    """Makes another attempt after a CallError that says it is `retryable`.

    max_attempts: attempts at one question, throttled ones not counted, at least 1.
    max_throttled: throttled attempts after which a question is given up.
    base_s, throttled_base_s, cap_s: seconds, see the formula above.
    budget: shared by all stacks that lead to one judge. Throttled attempts cost nothing of it: the
        limiter paces them.
    random: numbers in [0, 1).

    A retry whose wait would end at or after the deadline is refused at once. The last error goes
    through unchanged, because its reason explains more than "deadline" or "budget".
    """

    def __init__(
        self,
        *,
        max_attempts: int,
        max_throttled: int,
        base_s: float,
        throttled_base_s: float,
        cap_s: float,
        budget: RetryBudget,
        sink: Sink,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._budget = budget
        self._sink = sink
        self._random = random
        self._cap_s = cap_s
        self._after_failure = _policies(max_attempts, base_s, cap_s)
        self._after_throttling = _policies(max_throttled, throttled_base_s, cap_s)
        self._settings = (
            f"max_attempts={max_attempts}, max_throttled={max_throttled}, base_s={base_s:g},"
            f" throttled_base_s={throttled_base_s:g}, cap_s={cap_s:g}, budget={budget!r}"
        )
        self._retries = self._out_of_attempts = self._out_of_time = self._out_of_budget = 0

    def __repr__(self) -> str:
        return f"Retry({self._settings})"

    def statistics(self) -> RetryStatistics:
        """What happened so far."""
        return RetryStatistics(
            retries=self._retries,
            out_of_attempts=self._out_of_attempts,
            out_of_time=self._out_of_time,
            out_of_budget=self._out_of_budget,
        )

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        self._budget.count_call(asyncio.get_running_loop().time())
        tries: _Tries | None = None
        while True:
            try:
                return await call_next(request)
            except CallError as error:
                if not error.retryable:
                    raise
                tries = tries or _Tries()
                wait_s = self._next_wait_s(request.deadline, tries, error)
                if wait_s is None:
                    raise
            await asyncio.sleep(wait_s)

    def _next_wait_s(self, deadline: float, tries: _Tries, error: CallError) -> float | None:
        """Seconds until the next attempt, `None` when there is to be none."""
        state = self._count(tries, error)
        if state.retry_object.stop(state) or _worth_no_more(state.attempt_number, error):
            self._out_of_attempts += 1
            return None
        wait_s = self._wait_s(state, error)
        now = asyncio.get_running_loop().time()
        if now + wait_s >= deadline:
            self._out_of_time += 1
            return None
        if not error.throttled and not self._budget.take(now):
            self._out_of_budget += 1
            return None
        self._retries += 1
        attempt = tries.failed + tries.throttled
        self._sink(
            Retried(attempt=attempt, wait_s=wait_s, reason=error.reason, throttled=error.throttled)
        )
        return wait_s

    def _count(self, tries: _Tries, error: CallError) -> RetryCallState:
        if error.throttled:
            tries.throttled += 1
            state = RetryCallState(self._after_throttling, None, (), {})
            state.attempt_number = tries.throttled
        else:
            tries.failed += 1
            state = RetryCallState(self._after_failure, None, (), {})
            state.attempt_number = tries.failed
        return state

    def _wait_s(self, state: RetryCallState, error: CallError) -> float:
        wait = state.retry_object.wait
        if error.backoff_s is not None:
            wait = wait_exponential(multiplier=error.backoff_s, max=self._cap_s)
        asked_s = min(error.retry_after_s or 0.0, MAX_RETRY_AFTER_S)
        return max(self._random() * wait(state), asked_s)


def _policies(max_attempts: int, base_s: float, cap_s: float) -> AsyncRetrying:
    return AsyncRetrying(
        stop=stop_after_attempt(max_attempts), wait=wait_exponential(multiplier=base_s, max=cap_s)
    )


def _worth_no_more(attempts: int, error: CallError) -> bool:
    return error.max_retries is not None and attempts > error.max_retries
