"""A token bucket for one limited resource; it may go into debt. Arithmetic: no clock, no waiting.

All numbers are whole: amounts in micro-units, time in microseconds, and the remainder of a division is
carried on. With floats a bucket can lack 1e-17 of a unit forever.

Worked example: 600 a minute with a burst of 0.5 s holds 5 units. Five calls of one unit go at t = 0. The
level is 0 and grows by 10 units a second: a sixth would go at t = 0.1. A call of 8 units comes instead. It
waits until the bucket is full (t = 0.5) and leaves a debt of 3: the next call of one unit goes at t = 0.9.

For any span of T seconds, what is taken less what is given back is at most
`rate * T + max(capacity, largest cost)`.
"""

from math import inf

from msgspec import Struct

MICRO = 1_000_000
_MINUTE_US = 60 * MICRO

MAX_EXCESS = 0.01
"""Largest excess over the quota in any 60 s, as a share of it."""

MAX_SLOWING = 0.0075
"""Largest reduction of the rate to stay within `MAX_EXCESS`, so that 99 % of the quota is still used."""


class Limit(Struct, frozen=True):
    """A quota.

    per_minute: units a minute, > 0.
    burst_s: seconds of the quota that may be sent at once, > 0. Any 60 s have at most
        `per_minute * (1 + burst_s / 60)`, so 0.5 stays within +1 %.

    A call that costs more than the burst replaces the burst in this formula. If that would exceed +1 %, the
    bucket fills slower, by at most 0.75 %, which is enough for calls of up to 1.75 % of a minute's quota.
    """

    per_minute: float
    burst_s: float = 0.5


SHARE_WEIGHT = 0.02
"""Weight of the newest call in `Bucket.share`."""


class Bucket:
    """A bucket that fills at the quota's rate up to its burst. It starts full.

    A cost above the capacity is allowed when the bucket is full, and leaves a debt. So it waits for
    its time, but not forever.

    rate: micro-units a minute; 0 when it is filled by `add` alone.
    level: available micro-units, negative for a debt.
    reserved: micro-units of the reservations that are not settled yet.
    charged: micro-units of all settled reservations since the start.
    share: the charged part of a reservation, a mean of the last calls (about 50).
    """

    __slots__ = (
        "_burst_s",
        "_factor",
        "_largest",
        "_left_over",
        "_now_us",
        "_quota",
        "capacity",
        "charged",
        "level",
        "rate",
        "reserved",
        "share",
    )

    def __init__(self, limit: Limit) -> None:
        self._burst_s = limit.burst_s
        self._factor = 1.0
        self._now_us = self._left_over = self._largest = 0
        self.capacity = self.level = self.reserved = self.charged = 0
        self.share = 1.0
        self._set_quota(limit.per_minute)
        self.level = self.capacity

    def set_rate(self, per_minute: float, now_us: int) -> None:
        """Changes the quota from now on; the level stays, up to the new capacity.

        With 0 the capacity stays too.
        """
        self.fill(now_us)
        self._set_quota(per_minute)

    def slow_to(self, factor: float, now_us: int) -> None:
        """Reduces rate and capacity to a share of the quota from now on; no effect if filled by `add`."""
        if factor != self._factor:
            self.fill(now_us)
            self._factor = factor
            self._tune()

    def fill(self, now_us: int) -> None:
        """Adds the units since the last call."""
        elapsed_us = now_us - self._now_us
        if elapsed_us <= 0:  # the same moment, or a clock that went back
            return
        self._now_us = now_us
        gain, self._left_over = divmod(elapsed_us * self.rate + self._left_over, _MINUTE_US)
        self.level += gain
        if self.level >= self.capacity:
            self.level = self.capacity
            self._left_over = 0

    def add(self, amount: int, capacity: int | None = None) -> None:
        """Adds micro-units from outside, up to the capacity, which can be changed."""
        if capacity is not None:
            self.capacity = max(1, capacity)
        self.level = min(self.level + amount, self.capacity)

    def drop(self) -> None:
        """Removes the available units; a debt stays."""
        self.level = min(self.level, 0)

    def is_low(self, share: float) -> bool:
        """Whether it is filled by `add` and its level is below `share` of its capacity."""
        return not self.rate and self.level < self.capacity * share

    def take(self, cost: int, now_us: int) -> bool:
        """Reserves `cost` if it may go now; the level may fall below zero. Fills the bucket first."""
        if now_us > self._now_us:
            self.fill(now_us)
        level = self.level
        if level < cost and level != self.capacity:
            return False
        self.level = level - cost
        self.reserved += cost
        if cost > level:
            self._note_largest(cost)
        return True

    def untake(self, cost: int) -> None:
        """Undoes a `take` at the same time."""
        self.level += cost
        self.reserved -= cost

    def settle(self, cost: int, charged: int) -> None:
        """Ends a reservation: returns the uncharged part, or takes the part charged in addition.

        Before taking more, `fill` the bucket, because the time in which it was full must not pay the debt.
        """
        self.reserved -= cost
        self.charged += charged
        if cost != charged:
            self.level = min(self.level + cost - charged, self.capacity)
        if cost:
            used = charged / cost if charged < cost else 1.0
            self.share += SHARE_WEIGHT * (used - self.share)

    def ready_at_us(self, cost: int, ahead: int = 0) -> float:
        """When `cost` may be taken, if `ahead` micro-units are reserved before it and settled.

        `inf` if the bucket is filled from outside, so that the time is unknown.
        """
        missing = min(cost, self.capacity) + int(ahead * self.share) - self.level
        if missing <= 0:
            return self._now_us
        if not self.rate:
            return inf
        return self._now_us - (self._left_over - missing * _MINUTE_US) // self.rate

    def _set_quota(self, per_minute: float) -> None:
        self._quota = per_minute * MICRO
        self._tune()

    def _note_largest(self, cost: int) -> None:
        """Slows the filling by the excess that a large call adds to the worst 60 s.

        Calls of one unit add none.
        """
        if cost > max(self.capacity, self._largest, MICRO):
            self._largest = cost
            self._tune()

    def _tune(self) -> None:
        if not self._quota:
            self.rate = 0
            return
        room = 1 + MAX_EXCESS - self._largest / self._quota
        slowed = self._quota * self._factor * min(1.0, max(1 - MAX_SLOWING, room))
        self.rate = max(1, round(slowed))
        self.capacity = max(1, round(self._quota * self._factor * self._burst_s / 60))
        self.level = min(self.level, self.capacity)
