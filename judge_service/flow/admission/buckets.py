"""The token buckets of all resources: a call takes from all of them or from none. No clock, no waiting."""

from collections.abc import Callable, Mapping, Sequence
from operator import mul

from judge_service.flow.admission.bucket import MICRO, Bucket, Limit


class Buckets:
    """A bucket for each resource. Costs are whole units, in the order of `limits`.

    leased: some bucket has no rate and is filled by `add` alone.
    """

    def __init__(self, limits: Mapping[str, Limit]) -> None:
        self.buckets = {name: Bucket(limit) for name, limit in limits.items()}
        self.leased = False
        self._each = tuple(self.buckets.values())
        self._us_per_unit = [60 * MICRO / limit.per_minute for limit in limits.values()]

    def __repr__(self) -> str:
        levels = (f"{name}={bucket.level / MICRO:g}" for name, bucket in self.buckets.items())
        return f"Buckets({', '.join(levels)})"

    def take(self, costs: tuple[int, ...], now_us: int) -> bool:
        """Reserves from every bucket or from none."""
        for bucket, cost in zip(self._each, costs):  # noqa: B905 - hot; one each, by contract
            if not bucket.take(cost * MICRO, now_us):
                self._untake(bucket, costs)
                return False
        return True

    def _untake(self, until: Bucket, costs: tuple[int, ...]) -> None:
        for bucket, cost in zip(self._each, costs, strict=True):
            if bucket is until:
                return
            bucket.untake(cost * MICRO)

    def settle(
        self, costs: tuple[int, ...], charged: tuple[int, ...], clock_us: Callable[[], int]
    ) -> None:
        """Ends a reservation: returns the uncharged part; the part charged in addition becomes a debt.

        clock_us: called for the time only if there is a debt.
        """
        for bucket, cost, used in zip(self._each, costs, charged):  # noqa: B905 - as above
            if used > cost:
                bucket.fill(clock_us())
            bucket.settle(cost * MICRO, used * MICRO)

    def set_rates(self, per_minute: Mapping[str, float], now_us: int) -> None:
        """Changes the rates, units a minute by resource; other resources keep theirs."""
        for name, amount in per_minute.items():
            self.buckets[name].set_rate(amount, now_us)
        self.leased = not all(bucket.rate for bucket in self._each)

    def slow_to(self, factor: float, now_us: int) -> None:
        """Reduces all rates to a share of them from now on."""
        for bucket in self._each:
            bucket.slow_to(factor, now_us)

    def add(self, units: Mapping[str, int], capacity: Mapping[str, int]) -> None:
        """Adds units from outside. capacity: new capacities of buckets."""
        for name, amount in units.items():
            room = capacity.get(name)
            self.buckets[name].add(amount * MICRO, None if room is None else room * MICRO)

    def drop(self) -> None:
        """Removes the available units; debts stay."""
        for bucket in self._each:
            bucket.drop()

    def is_low(self, share: float) -> bool:
        """Whether the level of a bucket without a rate is below `share` of its capacity."""
        return any(bucket.is_low(share) for bucket in self._each)

    def missing(self, units: list[int]) -> dict[str, float]:
        """The units that are missing to take `units`, by resource."""
        levels = (bucket.level for bucket in self._each)
        lacking = (
            max(0, n * MICRO - level) / MICRO for n, level in zip(units, levels, strict=True)
        )
        return dict(zip(self.buckets, lacking, strict=True))

    def ready_at_s(
        self, costs: tuple[int, ...], ahead: Sequence[int], share_ahead: float = 1.0
    ) -> float:
        """When `costs` may be taken, if a share of the units `ahead` goes before; `inf` if unknown,
        0 without a quota.
        """
        ready_us = (
            bucket.ready_at_us(cost * MICRO, int(before * MICRO * share_ahead))
            for bucket, cost, before in zip(self._each, costs, ahead, strict=True)
        )
        return max(ready_us, default=0) / MICRO

    def size(self, costs: tuple[int, ...]) -> int:
        """The cost of a call in its scarcest resource, microseconds of quota; equal for all without one."""
        return int(max(map(mul, costs, self._us_per_unit), default=MICRO))

    def average(self, costs: tuple[int, ...]) -> tuple[int, ...]:
        """The average charge of a call with these reservations: whole units, at least one.

        A half request cannot be charged, and attempts without a cost would have no limit.
        """
        return tuple(
            [
                max(min(cost, 1), round(cost * one.share))
                for cost, one in zip(costs, self._each, strict=True)
            ]
        )
