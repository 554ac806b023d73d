"""A token bucket for one limited resource; it may go into debt. Arithmetic: no clock, no waiting.

All numbers are whole: amounts in micro-units, time in microseconds, and the remainder of a division is
carried on. With floats a bucket can lack 1e-17 of a unit for ever.

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
"""What any 60 s may carry beyond the quota, as a share of it."""

MAX_SLOWING = 0.0075
"""How much of the rate is given up at most to stay within `MAX_EXCESS`, so that 99 % is still used."""


class Limit(Struct, frozen=True):
    """A quota.

    per_minute: units a minute, > 0.
    burst_s: how many seconds' worth may go at once, > 0. Any 60 s carry at most
        `per_minute * (1 + burst_s / 60)`, so 0.5 stays within +1 %.

    A call dearer than the burst counts in the burst's place. Where that would exceed +1 %, the bucket
    fills slower, by 0.75 % at most, which is enough for calls of up to 1.75 % of a minute's quota.
    """

    per_minute: float
    burst_s: float = 0.5


SHARE_WEIGHT = 0.02
"""Weight of the newest call in `Bucket.share`."""


class Bucket:
    """Fills at the quota's rate up to its burst; starts full.

    A cost above the capacity is let in when the bucket is full and leaves a debt, so that it waits
    its time but never for ever.

    rate: micro-units a minute; 0 when it is filled by `add` alone.
    level: micro-units that may go now, negative for a debt.
    reserved: micro-units of the reservations that are not settled yet.
    charged: micro-units of all that were, since the start.
    share: how much of a reservation is charged in the end, a mean of the last calls (about 50).
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
        """Fills at another quota from now on; the level stays, as far as there is room for it.

        At 0 the capacity stays too.
        """
        self.fill(now_us)
        self._set_quota(per_minute)

    def slow_to(self, factor: float, now_us: int) -> None:
        """Fills at a share of the quota from now on, and holds as much less; not if filled by `add`."""
        if factor != self._factor:
            self.fill(now_us)
            self._factor = factor
            self._tune()

    def fill(self, now_us: int) -> None:
        """Adds what has come in since the last time."""
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
        """Puts micro-units in from outside, up to the capacity, which may be set anew."""
        if capacity is not None:
            self.capacity = max(1, capacity)
        self.level = min(self.level + amount, self.capacity)

    def drop(self) -> None:
        """Forgets what is there; a debt stays."""
        self.level = min(self.level, 0)

    def is_low(self, share: float) -> bool:
        """Whether it is filled by `add` and holds less than `share` of its capacity."""
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
        """Undoes a `take` of this very moment."""
        self.level += cost
        self.reserved -= cost

    def settle(self, cost: int, charged: int) -> None:
        """Ends a reservation: gives back what was not charged, or takes what was charged besides.

        Before taking more, `fill` the bucket: time in which it stood full must not pay the debt.
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

        `inf` when nobody can tell, because the bucket is filled from outside.
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
        """Slows the filling by what a large call adds to the worst 60 s.

        Calls of one unit fill a minute evenly by themselves.
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
