"""The arithmetic of one limited resource: a token bucket that may go into debt. No clock, no waiting.

Whole numbers throughout: amounts in micro-units, time in microseconds, and what a division leaves
over is carried on. With floats a bucket can lack 1e-17 of a unit for ever.

For any span of T seconds, what is taken less what is given back is at most
`rate * T + max(capacity, largest cost)`.
"""

from msgspec import Struct

MICRO = 1_000_000
_MINUTE_US = 60 * MICRO


class Limit(Struct, frozen=True):
    """A quota.

    per_minute: units a minute, > 0.
    burst_s: how many seconds' worth may go at once, > 0. Any 60 s carry at most
        `per_minute * (1 + burst_s / 60)`, so 0.5 stays within +1 %.
    """

    per_minute: float
    burst_s: float = 0.5


SHARE_WEIGHT = 0.02
"""Weight of the newest call in `Bucket.share`."""


class Bucket:
    """Fills at the quota's rate up to its burst; starts full.

    A cost above the capacity is let in when the bucket is full and leaves a debt, so that it waits
    its time but never for ever.

    level: micro-units that may go now, negative for a debt.
    reserved: micro-units of the reservations that are not settled yet.
    share: how much of a reservation is charged in the end, a mean of the last calls (about 50).
    """

    __slots__ = ("_left_over", "_now_us", "capacity", "level", "rate", "reserved", "share")

    def __init__(self, limit: Limit) -> None:
        self.rate = max(1, round(limit.per_minute * MICRO))
        self.capacity = max(1, round(limit.per_minute * MICRO * limit.burst_s / 60))
        self.level = self.capacity
        self.reserved = 0
        self.share = 1.0
        self._now_us = 0
        self._left_over = 0

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

    def has(self, cost: int, now_us: int) -> bool:
        """Whether `cost` may be taken now; fills the bucket first."""
        self.fill(now_us)
        return self.level >= cost or self.level == self.capacity

    def reserve(self, cost: int) -> None:
        """Takes; the level may fall below zero."""
        self.level -= cost
        self.reserved += cost

    def settle(self, cost: int, charged: int) -> None:
        """Ends a reservation: gives back what was not charged, or takes what was charged besides.

        Before taking more, `fill` the bucket: time in which it stood full must not pay the debt.
        """
        self.level = min(self.level + cost - charged, self.capacity)
        self.reserved -= cost
        if cost:
            self.share += SHARE_WEIGHT * (min(charged / cost, 1.0) - self.share)

    def ready_at_us(self, cost: int, ahead: int = 0) -> int:
        """When `cost` may be taken, if `ahead` micro-units are reserved before it and settled."""
        missing = min(cost, self.capacity) + int(ahead * self.share) - self.level
        if missing <= 0:
            return self._now_us
        return self._now_us - (self._left_over - missing * _MINUTE_US) // self.rate
