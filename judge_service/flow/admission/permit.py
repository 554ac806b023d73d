"""The permits of a gate, and its statistics."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from judge_service.flow.admission.throttle import ThrottleStatistics

Bound = Literal["", "slots", "quota", "throttle", "breaker"]
"""The reason why the head of the queue waits: no free slot, no tokens, the throttle controller, or a probe
of the breaker in flight. Empty if no call waits."""


class Permit:
    """The right to send one call, with everything that was taken for it. It is settled exactly once.

    costs: units reserved, in the order of the gate's limits.
    era: for the breaker when the call ends. number: the same for the throttle controller.
    granted_at_s: loop time.
    """

    __slots__ = ("costs", "era", "granted_at_s", "is_settled", "number")

    def __init__(self, costs: tuple[int, ...], era: int, number: int, granted_at_s: float) -> None:
        self.costs = costs
        self.era = era
        self.number = number
        self.granted_at_s = granted_at_s
        self.is_settled = False

    def settle(self) -> None:
        """Marks it as settled. Raises RuntimeError the second time, which would free a slot twice."""
        if self.is_settled:
            raise RuntimeError("a permit was settled twice")
        self.is_settled = True


class GateStatistics(Struct, frozen=True, kw_only=True):
    """waiting: calls in the queue, `waiting_by_lane` the same by lane. bound_by: see `Bound`.

    in_flight: permits not settled yet. slots: present limit of them.
    granted: permits granted so far. refused: calls refused because their turn would come too late.
    answered, throttled, failed: calls that were answered, that the judge refused because of its
        quota, and that ended in any other way (failed includes throttled).
    level: units in each bucket at the last check, negative for a debt.
    reserved: reserved units of calls in flight by resource; charged: the cost of ended ones.
    effective_per_minute: present rate of each bucket, units a minute; below the quota after throttling,
        0 for leased units.
    breaker: `closed`, `open` or `half_open`.
    """

    waiting: int
    waiting_by_lane: Mapping[str, int]
    bound_by: str
    in_flight: int
    slots: int
    granted: int
    refused: int
    answered: int
    throttled: int
    failed: int
    level: Mapping[str, float]
    reserved: Mapping[str, float]
    charged: Mapping[str, float]
    effective_per_minute: Mapping[str, float]
    breaker: str
    throttle: ThrottleStatistics
