"""No calls to a target that fails, until it answers again.

    closed     all go. Opens when half of at least 20 calls of the last 10 s failed, when 20 failed in
               a row (on a busy target the good seconds before would hide a dead one for long), or
               at once when the quota is gone for the day.
    open       none goes, and none costs anything. After 5 s (15 min for the day's quota) half-open.
    half_open  one goes; each good answer lets one more go at once, and 20 of them close it. A failure
               opens it again.

Failures are what says that the target is ill: no connection, a timeout, a 5xx, a broken reply
(`retryable`, not `throttled`). Throttling says that it is well but busy, a refusal says that the call is
wrong, a cancellation says nothing. Numbers: half of 20 in 10 s and 5 s are Polly's form
(`CircuitBreakerStrategyOptions`: failure ratio, minimum throughput, sampling and break duration). The
twenty answers before closing are for a judge that fails half of the time: one probe would close on it
every other time, and let all waiting calls in.
"""

import asyncio
from typing import Literal

from msgspec import Struct

from judge_service.errors import CallError, QuotaExhausted, Unavailable
from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import BreakerChanged, Sink

WINDOW_S = 10
MIN_CALLS = 20
MAX_FAILED = 0.5
OPEN_S = 5.0
DAY_OPEN_S = 900.0
"""Between two questions whether the day's quota is there again: at most 96 refused calls a day."""

BUSY_PROBING_S = 1.0
"""When to come again while others find out: about the latency of an answer."""

State = Literal["closed", "open", "half_open"]


class BreakerOpen(Unavailable):
    """The target is not asked, because it has been failing.

    Nothing left this machine, so it costs a retry neither an attempt nor any budget.
    """

    unsent = True


class BreakerStatistics(Struct, frozen=True, kw_only=True):
    """calls, failed: counted in the last 10 s while closed. refused: not let through, ever.

    probing: calls let through while half open that have not ended.
    """

    state: State
    calls: int
    failed: int
    refused: int
    probing: int


class _Window:
    """Calls and failures of the last 10 s, in slots of one second."""

    def __init__(self) -> None:
        self._counts: dict[int, list[int]] = {}

    def note(self, now: float, *, failed: bool) -> None:
        second = int(now)
        if second not in self._counts:
            self._counts[second] = [0, 0]
            for past in [past for past in self._counts if past <= second - WINDOW_S]:
                del self._counts[past]
        count = self._counts[second]
        count[0] += 1
        count[1] += failed

    def total(self) -> tuple[int, int]:
        """Calls and failures."""
        counts = self._counts.values()
        return sum(count[0] for count in counts), sum(count[1] for count in counts)

    def clear(self) -> None:
        self._counts.clear()


class Breaker:
    """Refuses calls to a target while it is ill.

    target: its name in events and messages.
    sink: gets a BreakerChanged whenever the state changes.

    Raises BreakerOpen, an Unavailable that says when to come again and was not charged;
    QuotaExhausted while the day's quota is gone.
    """

    def __init__(self, *, target: str, sink: Sink) -> None:
        self._target = target
        self._sink = sink
        self._state: State = "closed"
        self._era = 0
        self._window = _Window()
        self._probe_at = 0.0
        self._day_is_spent = False
        self._failed_in_row = 0
        self._probing = self._answered = self._refused = 0

    def __repr__(self) -> str:
        return f"Breaker(target={self._target})"

    def statistics(self) -> BreakerStatistics:
        """Its state and what was counted, up to the last call."""
        calls, failed = self._window.total()
        return BreakerStatistics(
            state=self._state,
            calls=calls,
            failed=failed,
            refused=self._refused,
            probing=self._probing,
        )

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if self._state != "closed":
            self._admit_probe(asyncio.get_running_loop().time())
        era = self._era
        try:
            result = await call_next(request)
        except CallError as error:
            self._end(era, error)
            raise
        except BaseException:
            self._end_without_word(era)
            raise
        self._end(era, None)
        return result

    def _admit_probe(self, now: float) -> None:
        if self._state == "open" and now >= self._probe_at:
            self._change("half_open")
        if self._state == "open":
            raise self._refusal(self._probe_at - now)
        if self._probing > self._answered:
            raise self._refusal(BUSY_PROBING_S)
        self._probing += 1

    def _refusal(self, wait_s: float) -> CallError:
        self._refused += 1
        if self._day_is_spent:
            return QuotaExhausted(
                f"the quota of {self._target} was used up for the day; it is asked again in"
                f" {wait_s:.0f} s",
                retry_after_s=wait_s,
            )
        return BreakerOpen(
            f"{self._target} has been failing and is not asked for another {wait_s:.1f} s",
            retry_after_s=wait_s,
        )

    def _end(self, era: int, error: CallError | None) -> None:
        if era != self._era:
            return  # it began before the last change: old news
        now = asyncio.get_running_loop().time()
        if error is not None and error.reason == "quota_exhausted":
            self._open(now + DAY_OPEN_S, day_is_spent=True)
        elif self._state == "half_open":
            self._end_probe(error, now)
        elif error is None or _is_ill(error):
            self._note(now, failed=error is not None)

    def _end_probe(self, error: CallError | None, now: float) -> None:
        self._probing -= 1
        if error is not None and _is_ill(error):
            self._open(now + OPEN_S, day_is_spent=False)
        elif error is None:
            self._answered += 1
            if self._answered >= MIN_CALLS:
                self._change("closed")

    def _end_without_word(self, era: int) -> None:
        if era == self._era and self._state == "half_open":
            self._probing -= 1

    def _note(self, now: float, *, failed: bool) -> None:
        self._window.note(now, failed=failed)
        if not failed:
            self._failed_in_row = 0
            return
        self._failed_in_row += 1
        calls, all_failed = self._window.total()
        is_half = calls >= MIN_CALLS and all_failed >= MAX_FAILED * calls
        if is_half or self._failed_in_row >= MIN_CALLS:
            self._open(now + OPEN_S, day_is_spent=False)

    def _open(self, until: float, *, day_is_spent: bool) -> None:
        self._probe_at = until
        self._day_is_spent = day_is_spent
        self._change("open")

    def _change(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._window.clear()
        self._probing = self._answered = self._failed_in_row = 0
        self._sink(BreakerChanged(target=self._target, state=state))


def _is_ill(error: CallError) -> bool:
    return error.retryable and not error.throttled and error.reason == "unavailable"
