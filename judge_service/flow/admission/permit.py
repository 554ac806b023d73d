"""What a gate hands out, and what it tells about itself."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from judge_service.flow.admission.throttle import ThrottleStatistics

Bound = Literal["", "slots", "quota", "throttle", "breaker"]
"""What the head of the queue waits for: a free slot, tokens, what refusals have taught, or a probe of the
breaker that is under way. Empty when nobody waits."""


class Permit:
    """The right to one call, with all that was taken for it. Settled exactly once.

    costs: units reserved, in the order of the gate's limits.
    era: what the breaker needs to know when the call ends. number: the same for the throttle controller.
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

    in_flight: permits not settled yet. slots: most of them at once, as it is now.
    granted: permits handed out. refused: calls refused because their turn would come too late.
    answered, throttled, failed: calls that were answered, that the judge refused because of its
        quota, and that ended in any other way (the throttled ones are among the failed).
    level: units in each bucket when it was last looked at, negative for a debt.
    reserved: units of each resource that the calls in flight hold; charged: that ended ones cost.
    effective_per_minute: units a minute that fill each bucket now; below the quota after throttling,
        0 where units are leased.
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
