"""Quotas as Bedrock counts them: reserved when a call starts, settled when it ends.

A call reserves one request and its input plus its maximum output. When it ends, input plus output times
burndown replaces the reservation. A refused call takes nothing. Pure arithmetic: the caller gives the time.
Source: docs.aws.amazon.com/bedrock/latest/userguide/quotas-token-burndown.html.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct

from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.faults import (
    TOO_MANY_REQUESTS,
    TOO_MANY_TOKENS,
    TOO_MANY_TOKENS_PER_DAY,
    Refusal,
)
from judge_service.simulator.spells import Spells

MINUTE_S = 60.0
DAY_S = 86_400.0
SLACK = 1e-6
"""Tolerance, so that rounding does not refuse an amount that fits exactly."""


Taken = Callable[[float, float], float]
"""Seconds' worth of quota that others take between two readings of the clock."""


def nobody(_begin_s: float, _end_s: float) -> float:
    """No other tenant takes of the quota."""
    return 0.0


class Bucket:
    """A bucket that refills all the time, less what others take, and holds `burst_s` seconds of the limit.

    A larger amount is admitted when the bucket is full, and leaves a debt: the burst must not forbid what
    the minute allows. An amount above the limit itself never fits.
    """

    def __init__(self, limit: float, burst_s: float, taken_s: Taken = nobody) -> None:
        self._limit = limit
        self._taken_s = taken_s
        self._per_s = limit / MINUTE_S
        self._capacity = self._level = self._per_s * burst_s
        self._at_s: float | None = None

    def fits(self, amount: float, now_s: float) -> bool:
        self._refill(now_s)
        return amount <= self._limit and self._level >= min(amount, self._capacity) - SLACK

    def take(self, amount: float) -> float:
        self._level -= amount
        return 0.0

    def give(self, amount: float, now_s: float, _taken: float) -> None:
        self._refill(now_s)
        self._level = min(self._level + amount, self._capacity)

    def _refill(self, now_s: float) -> None:
        at_s = now_s if self._at_s is None else self._at_s
        left_s = now_s - at_s - self._taken_s(at_s, now_s)
        self._level = min(self._level + left_s * self._per_s, self._capacity)
        self._at_s = now_s


class FixedWindow:
    """A quota that starts afresh every `window_s` seconds, counted from the first call.

    The part that others take of a window is set aside when the window begins.
    """

    def __init__(self, limit: float, window_s: float, taken_s: Taken = nobody) -> None:
        self._limit = self._left = limit
        self._window_s = window_s
        self._taken_s = taken_s
        self._start_s: float | None = None
        self._window = 0.0
        self._used = 0.0

    def fits(self, amount: float, now_s: float) -> bool:
        self._roll(now_s)
        return self._used + amount <= self._left + SLACK

    def take(self, amount: float) -> float:
        self._used += amount
        return self._window

    def give(self, amount: float, now_s: float, taken: float) -> None:
        """Returns an amount that was taken in window `taken`; a debt is charged to the present window."""
        self._roll(now_s)
        if amount < 0 or taken == self._window:
            self._used -= amount

    def _roll(self, now_s: float) -> None:
        if self._start_s is None:
            self._start_s = now_s
            self._begin(0.0)
        window = (now_s - self._start_s) // self._window_s
        if window != self._window:
            self._begin(window)

    def _begin(self, window: float) -> None:
        begin_s = (self._start_s or 0.0) + window * self._window_s
        share = self._taken_s(begin_s, begin_s + self._window_s) / self._window_s
        self._window, self._used, self._left = window, 0.0, self._limit * (1 - share)


class WorstWindow:
    """The largest total of any 60 s, to 10 ms."""

    SLOTS_PER_S = 100

    def __init__(self) -> None:
        self._slots: deque[list[float]] = deque()
        self._total = 0.0
        self.worst = 0.0

    def add(self, amount: float, now_s: float) -> None:
        slot = int(now_s * self.SLOTS_PER_S)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1][1] += amount
        else:
            self._slots.append([slot, amount])
        self._total += amount
        oldest = slot - MINUTE_S * self.SLOTS_PER_S
        while self._slots[0][0] <= oldest:
            self._total -= self._slots.popleft()[1]
        self.worst = max(self.worst, self._total)


class Reservation(Struct, frozen=True):
    """Tokens that an admitted call holds. windows: for each token quota, the window they were taken in."""

    tokens: float
    windows: tuple[float, ...]


class QuotaStatistics(Struct, frozen=True, kw_only=True):
    """One model's quota so far.

    worst_window_requests, worst_window_tokens: the most that was admitted in any 60 s; tokens are
        reservations less what was returned.
    reserved_tokens: held by calls in flight.
    charged_tokens: settled, output times burndown.
    """

    admitted: int
    refused_requests: int
    refused_tokens: int
    refused_tokens_per_day: int
    reserved_tokens: float
    charged_tokens: float
    worst_window_requests: float
    worst_window_tokens: float


class Quota:
    """The quota of one model. spells: other tenants of it, by default those of the configuration."""

    def __init__(self, config: SimulatorConfig, spells: Spells | None = None) -> None:
        taken_s = (spells or Spells(config.spells)).taken_s
        self._meters: list[tuple[Refusal, Bucket | FixedWindow, bool]] = []
        if config.requests_per_minute is not None:
            meter = _per_minute(config.requests_per_minute, config, taken_s)
            self._meters.append((TOO_MANY_REQUESTS, meter, False))
        if config.tokens_per_minute is not None:
            meter = _per_minute(config.tokens_per_minute, config, taken_s)
            self._meters.append((TOO_MANY_TOKENS, meter, True))
        if config.tokens_per_day is not None:
            day = FixedWindow(config.tokens_per_day, DAY_S, taken_s)
            self._meters.append((TOO_MANY_TOKENS_PER_DAY, day, True))
        self._requests = WorstWindow()
        self._tokens = WorstWindow()
        self._refused = dict.fromkeys(
            (TOO_MANY_REQUESTS.message, TOO_MANY_TOKENS.message, TOO_MANY_TOKENS_PER_DAY.message), 0
        )
        self._admitted = 0
        self._reserved = self._charged = 0.0

    def admit(self, tokens: float, now_s: float) -> Reservation | Refusal:
        """Reserves one request and `tokens`, or says which quota is used up."""
        for refusal, meter, counts_tokens in self._meters:
            if not meter.fits(tokens if counts_tokens else 1.0, now_s):
                self._refused[refusal.message] += 1
                return refusal
        taken = tuple(meter.take(tokens if counts else 1.0) for _, meter, counts in self._meters)
        self._requests.add(1.0, now_s)
        self._tokens.add(tokens, now_s)
        self._admitted += 1
        self._reserved += tokens
        return Reservation(tokens, taken)

    def settle(self, reservation: Reservation, tokens: float, now_s: float) -> None:
        """Replaces a reservation by what was used. Requests are never returned."""
        back = reservation.tokens - tokens
        for (_, meter, counts_tokens), window in zip(
            self._meters, reservation.windows, strict=True
        ):
            if counts_tokens:
                meter.give(back, now_s, window)
        self._tokens.add(-back, now_s)
        self._reserved -= reservation.tokens
        self._charged += tokens

    def statistics(self) -> QuotaStatistics:
        return QuotaStatistics(
            admitted=self._admitted,
            refused_requests=self._refused[TOO_MANY_REQUESTS.message],
            refused_tokens=self._refused[TOO_MANY_TOKENS.message],
            refused_tokens_per_day=self._refused[TOO_MANY_TOKENS_PER_DAY.message],
            reserved_tokens=self._reserved,
            charged_tokens=self._charged,
            worst_window_requests=self._requests.worst,
            worst_window_tokens=self._tokens.worst,
        )

    def __repr__(self) -> str:
        return f"<Quota admitted={self._admitted} reserved={self._reserved:g} tokens>"


def _per_minute(limit: float, config: SimulatorConfig, taken_s: Taken) -> Bucket | FixedWindow:
    if config.refill == "continuous":
        return Bucket(limit, config.burst_s, taken_s)
    window_s = MINUTE_S if config.refill == "minute" else config.refill_window_s
    return FixedWindow(limit * window_s / MINUTE_S, window_s, taken_s)
