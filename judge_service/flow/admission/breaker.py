"""A circuit breaker: says whether a target that has been failing may be called. It never waits.

    closed     all calls may go. It opens when half of at least 20 calls of the last 10 s failed, when
               20 failed in a row (on a busy target the good seconds before would hide a dead one for
               long), or at once when the quota is used up for the day.
    open       no call may go. After 5 s (15 min for the day's quota) it is half-open.
    half_open  one call may go; each good answer allows one more at once, and 20 of them close it. A
               failure opens it again.

A failure is a sign that the target does not work: no connection, a timeout, a 5xx, a broken reply
(`retryable`, not `throttled`). Throttling means that the target works but is busy, a denial means that the
call is wrong, and a cancellation means nothing. The numbers (half of 20 calls in 10 s, 5 s) are the
defaults of Polly's `CircuitBreakerStrategyOptions`. Twenty answers are needed to close because a judge
that fails half of the time would close a breaker with one probe every other time.

Worked example: 12 of 20 calls fail within 3 s, so the breaker opens at t = 3. At t = 8 one probe goes. It
is answered at t = 8.3, so two may go; both are answered, and so on: 20 answers close it after five or six
round trips. The gate (`gate.py`) refuses its whole queue when the breaker opens.
"""

from typing import Literal

from msgspec import Struct

from judge_service.errors import CallError, QuotaExhausted, Unavailable
from judge_service.telemetry.events import BreakerChanged, Sink

WINDOW_S = 10
MIN_CALLS = 20
MAX_FAILED = 0.5
OPEN_S = 5.0
DAY_OPEN_S = 900.0
"""Time between two probes while the day's quota is used up: at most 96 refused calls a day."""

BUSY_PROBING_S = 1.0
"""Retry time while a probe is in flight, seconds: about the latency of an answer."""

State = Literal["closed", "open", "half_open"]


class BreakerOpen(Unavailable):
    """The call was not sent, because the target has been failing.

    So it does not count as an attempt, and a retry uses no budget.
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
    """The state machine. Times are seconds of one clock; nothing here waits or reads a clock.

    target: its name in events and messages.
    sink: gets a BreakerChanged whenever the state changes.
    """

    def __init__(self, *, target: str, sink: Sink) -> None:
        self._target = target
        self._sink = sink
        self.state: State = "closed"
        self._era = 0
        self._window = _Window()
        self._probe_at = 0.0
        self._day_is_spent = False
        self._failed_in_row = 0
        self._probing = self._answered = self._refused = 0

    def __repr__(self) -> str:
        return f"Breaker(target={self._target})"

    def statistics(self) -> BreakerStatistics:
        """The state and the counts, up to the last call."""
        calls, failed = self._window.total()
        return BreakerStatistics(
            state=self.state,
            calls=calls,
            failed=failed,
            refused=self._refused,
            probing=self._probing,
        )

    def refusal(self, now_s: float) -> CallError | None:
        """Why no call may go now, `None` if one may. A call that gets an error counts as refused.

        The error is a BreakerOpen, which has a retry time and was not charged, or
        QuotaExhausted while the day's quota is used up.
        """
        if self.state == "closed" or self.may_go(now_s):
            return None
        self._refused += 1
        if self.state == "half_open":
            return self._error(BUSY_PROBING_S)
        return self._error(self._probe_at - now_s)

    def may_go(self, now_s: float) -> bool:
        """Whether a call may go now. An open breaker whose time is over becomes half-open."""
        if self.state == "open" and now_s >= self._probe_at:
            self._change("half_open")
        return self.state == "closed" or (
            self.state == "half_open" and self._probing <= self._answered
        )

    def start(self) -> int:
        """Counts a call that is sent. Returns its era, for `end` or `forget`."""
        self._probing += self.state == "half_open"
        return self._era

    def end(self, era: int, error: CallError | None, now_s: float) -> None:
        """A call has ended, with an answer or an error. era: what `start` returned."""
        if era != self._era:
            return  # it began before the last change of the state
        if error is not None and error.reason == "quota_exhausted":
            self._open(now_s + DAY_OPEN_S, day_is_spent=True)
        elif self.state == "half_open":
            self._end_probe(error, now_s)
        elif error is None or _is_ill(error):
            self._note(now_s, failed=error is not None)

    def forget(self, era: int) -> None:
        """A call has ended in a way that says nothing about the target."""
        if era == self._era and self.state == "half_open":
            self._probing -= 1

    def _error(self, wait_s: float) -> CallError:
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

    def _end_probe(self, error: CallError | None, now_s: float) -> None:
        self._probing -= 1
        if error is not None and _is_ill(error):
            self._open(now_s + OPEN_S, day_is_spent=False)
        elif error is None:
            self._day_is_spent = False
            self._answered += 1
            if self._answered >= MIN_CALLS:
                self._change("closed")

    def _note(self, now_s: float, *, failed: bool) -> None:
        self._window.note(now_s, failed=failed)
        if not failed:
            self._failed_in_row = 0
            return
        self._failed_in_row += 1
        calls, all_failed = self._window.total()
        is_half = calls >= MIN_CALLS and all_failed >= MAX_FAILED * calls
        if is_half or self._failed_in_row >= MIN_CALLS:
            self._open(now_s + OPEN_S, day_is_spent=False)

    def _open(self, until_s: float, *, day_is_spent: bool) -> None:
        self._probe_at = until_s
        self._day_is_spent = day_is_spent
        self._change("open")

    def _change(self, state: State) -> None:
        self.state = state
        self._era += 1
        self._window.clear()
        self._probing = self._answered = self._failed_in_row = 0
        self._sink(BreakerChanged(target=self._target, state=state))


def _is_ill(error: CallError) -> bool:
    return error.retryable and not error.throttled and error.reason == "unavailable"
