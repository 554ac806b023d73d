"""Retries: makes another attempt after a failure that may pass.

The wait before retry n (n = 1, 2, ...) is `random() * min(cap_s, base_s * 2**(n - 1))` seconds, which
is full jitter (aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter). With the defaults
that is up to 50 ms, then up to 100 ms; after throttling up to 1, 2, 4, 5, 5 ... s. An error may have
its own base. If the judge asks for a wait, it is respected up to 30 s, and the wait above is added,
because the judge asked many callers for the same.

There are three kinds of error. A failure costs an attempt and a share of the budget. A throttled attempt
has a separate, larger limit. A refusal by an open breaker (`unsent`) costs nothing, because nothing was
sent; it waits up to `cap_s` longer than requested, because all refused calls would otherwise return at
the same moment.

Three attempts take a fraction of a second, but a burst of failures takes longer. So the last of three or
more attempts waits at least 1 to 2 s (at random) and until the judge works again (fewer than a tenth of the
calls of the last 3 s failed). If the budget is empty, the call waits for it. Both waits end after 60 s and at
the deadline.

Worked example with the defaults: a call fails at t = 0, waits 0.03 s (at random below 0.05) and fails again.
Its third attempt is the last, so it waits 1.6 s (at random between 1 and 2) and is answered at t = 1.7.

tenacity has the stop and wait policies. It is imported and used only after a first failure, because otherwise
it would cost 22 us for each successful call, and 10 ms of a cold start.
"""

import asyncio
import random
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

from msgspec import Struct

from judge_service.errors import CallError
from judge_service.flow import B, Handler, R, Request
from judge_service.flow.retry_budget import RetryBudget, RetryBudgetStatistics
from judge_service.telemetry.events import Retried, Sink

if TYPE_CHECKING:
    from tenacity import AsyncRetrying, RetryCallState

__all__ = ["Retry", "RetryBudget", "RetryBudgetStatistics", "RetryStatistics"]

MAX_RETRY_AFTER_S = 30.0
"""Longest requested wait that is respected, seconds; a longer one may be meant in milliseconds."""

PATIENCE_S = 60.0
"""How long after its first failure a call may wait for the budget, a breaker or a failing judge, seconds, if
its deadline does not come first: twice a burst of failures of half a minute."""

LAST_WAIT_S = 1.0
"""Shortest wait before a last attempt, seconds: by then other calls show whether the judge works."""


class RetryStatistics(Struct, frozen=True, kw_only=True):
    """retries: made so far. The others count failed calls, by the reason why there was no further attempt."""

    retries: int
    out_of_attempts: int
    out_of_time: int
    out_of_budget: int


class _Tries(Struct):
    """The failed attempts of one call, by kind, and the time until which it may wait."""

    gives_up_at: float
    failed: int = 0
    throttled: int = 0
    unsent: int = 0


class Retry:
    """Makes another attempt after a `retryable` CallError.

    max_attempts: attempts of one call without throttled ones, at least 1.
    max_throttled: throttled attempts after which a call fails.
    base_s, throttled_base_s, cap_s: seconds, see the formula above.
    budget: shared by all stacks of one judge. Throttled attempts do not use it, because the
        gate limits their rate.
    typical_s: the median latency of the backend, seconds, `None` while unknown.
    random: numbers in [0, 1).

    A retry that would begin less than the median latency before the deadline is not made, because it would
    usually cost quota and be too late. The last error is raised unchanged, because its reason
    is more informative than "deadline" or "budget".
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
        typical_s: Callable[[], float | None] = lambda: None,
        random: Callable[[], float] = random.random,
    ) -> None:
        self._budget = budget
        self._typical_s = typical_s
        self._sink = sink
        self._random = random
        self._cap_s = cap_s
        self._max_attempts = max_attempts
        self._max_throttled = max_throttled
        self._base_s = base_s
        self._throttled_base_s = throttled_base_s
        self._settings = (
            f"max_attempts={max_attempts}, max_throttled={max_throttled}, base_s={base_s:g},"
            f" throttled_base_s={throttled_base_s:g}, cap_s={cap_s:g}, budget={budget!r}"
        )
        self._retries = self._out_of_attempts = self._out_of_time = self._out_of_budget = 0

    def __repr__(self) -> str:
        return f"Retry({self._settings})"

    def statistics(self) -> RetryStatistics:
        """The counts so far."""
        return RetryStatistics(
            retries=self._retries,
            out_of_attempts=self._out_of_attempts,
            out_of_time=self._out_of_time,
            out_of_budget=self._out_of_budget,
        )

    @cached_property
    def _after_failure(self) -> "AsyncRetrying":
        return _policies(self._max_attempts, self._base_s, self._cap_s)

    @cached_property
    def _after_throttling(self) -> "AsyncRetrying":
        return _policies(self._max_throttled, self._throttled_base_s, self._cap_s)

    @cached_property
    def _after_refusal(self) -> "AsyncRetrying":
        from tenacity import AsyncRetrying, stop_never, wait_fixed  # noqa: PLC0415 - see above

        return AsyncRetrying(stop=stop_never, wait=wait_fixed(self._cap_s))

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        now = asyncio.get_running_loop().time()
        self._budget.count_call(now)
        if not request.arrived_at:
            request.arrived_at = now
        tries: _Tries | None = None
        while True:
            try:
                return await call_next(request)
            except CallError as error:
                if not error.retryable or request.is_abandoned:
                    raise
                request.sent_at = 0.0
                now = asyncio.get_running_loop().time()
                tries = tries or _Tries(gives_up_at=now + PATIENCE_S)
                if not await self._wait(request.deadline, tries, error):
                    raise
                if error.throttled and tries.throttled == self._max_throttled // 2:
                    # to the end of the queue: in a storm the calls at its head would use all their attempts
                    request.arrived_at = asyncio.get_running_loop().time()

    async def _wait(self, deadline: float, tries: _Tries, error: CallError) -> bool:
        """Waits until another attempt may be made. `False` if there is none."""
        loop = asyncio.get_running_loop()
        failed_at = loop.time()
        state = self._count(tries, error)
        if state.retry_object.stop(state) or _worth_no_more(state.attempt_number, error):
            self._out_of_attempts += 1
            return False
        wait_s = self._wait_s(state, error)
        latest_s = deadline - (self._typical_s() or 0.0)
        if failed_at + wait_s >= latest_s:
            self._out_of_time += 1
            return False
        await asyncio.sleep(wait_s)
        if not await self._may_go(latest_s, tries, state, error):
            self._out_of_budget += 1
            return False
        self._tell(tries, error, loop.time() - failed_at)
        return True

    async def _may_go(
        self, latest_s: float, tries: _Tries, state: "RetryCallState", error: CallError
    ) -> bool:
        """Takes the retry from the budget, and waits for the budget if needed. Only failed calls do so.

        A call pays again after a refusal by a breaker. Otherwise all refused calls that have paid would
        be sent at once when the breaker closes.
        """
        latest_s = min(latest_s, tries.gives_up_at)
        now = asyncio.get_running_loop().time
        if error.throttled:
            return True
        if _was_unsent(error):
            if now() >= latest_s:
                return False
            if not tries.failed:
                return True
        if self._is_last(state):
            await self._until(lambda: self._budget.is_well(now()), latest_s)
        return await self._until(lambda: self._budget.take(now()), latest_s)

    async def _until(self, ready: Callable[[], bool], latest_s: float) -> bool:
        """Polls `ready` with jitter until `latest_s`. Returns whether it became true."""
        loop = asyncio.get_running_loop()
        while not ready():
            left_s = latest_s - loop.time()
            if left_s <= 0:
                return False
            await asyncio.sleep(min(self._cap_s * (1 + self._random()) / 2, left_s))
        return True

    def _is_last(self, state: "RetryCallState") -> bool:
        """Whether this is the last of three or more attempts; of two, the second is like any first retry."""
        return state.retry_object is self._after_failure and (
            2 <= state.attempt_number == self._max_attempts - 1
        )

    def _tell(self, tries: _Tries, error: CallError, wait_s: float) -> None:
        self._retries += 1
        attempt = tries.failed + tries.throttled + tries.unsent
        self._sink(
            Retried(attempt=attempt, wait_s=wait_s, reason=error.reason, throttled=error.throttled)
        )

    def _count(self, tries: _Tries, error: CallError) -> "RetryCallState":
        if error.throttled:
            tries.throttled += 1
            return _state(self._after_throttling, tries.throttled)
        if _was_unsent(error):
            tries.unsent += 1
            return _state(self._after_refusal, tries.unsent)
        tries.failed += 1
        self._budget.count_failure(asyncio.get_running_loop().time())
        return _state(self._after_failure, tries.failed)

    def _wait_s(self, state: "RetryCallState", error: CallError) -> float:
        wait = state.retry_object.wait
        if error.backoff_s is not None:
            from tenacity import wait_exponential  # noqa: PLC0415 - see above

            wait = wait_exponential(multiplier=error.backoff_s, max=self._cap_s)
        asked_s = error.retry_after_s or 0.0
        obeyed_s = min(asked_s, MAX_RETRY_AFTER_S) if asked_s > 0 else 0.0  # NaN counts as no wait
        wait_s = obeyed_s + self._random() * wait(state)
        if self._is_last(state):
            return max(wait_s, LAST_WAIT_S * (1 + self._random()))
        return wait_s


def _state(policy: "AsyncRetrying", attempt: int) -> "RetryCallState":
    from tenacity import RetryCallState  # noqa: PLC0415 - see above

    state = RetryCallState(policy, None, (), {})
    state.attempt_number = attempt
    return state


def _was_unsent(error: CallError) -> bool:
    """Whether the call was not sent on purpose (`breaker.BreakerOpen`)."""
    return error.unsent


def _policies(max_attempts: int, base_s: float, cap_s: float) -> "AsyncRetrying":
    from tenacity import (  # noqa: PLC0415 - see above
        AsyncRetrying,
        stop_after_attempt,
        wait_exponential,
    )

    return AsyncRetrying(
        stop=stop_after_attempt(max_attempts), wait=wait_exponential(multiplier=base_s, max=cap_s)
    )


def _worth_no_more(attempts: int, error: CallError) -> bool:
    return error.max_retries is not None and attempts > error.max_retries
