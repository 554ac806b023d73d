"""The present state of a service, as plain numbers for a scrape and the dashboard."""

from collections.abc import Mapping

from msgspec import Struct


class QuotaState(Struct, frozen=True, kw_only=True):
    """One resource of one target's quota.

    per_minute: what this process may use; with a store, what all processes together may use.
    spent: units charged or held since the start.
    """

    resource: str
    per_minute: float
    spent: float


class TargetState(Struct, frozen=True, kw_only=True):
    """The state of one target.

    breaker: `closed`, `open` or `half_open`.
    waiting_by_lane: calls in the gate's queue. bound_by: what its head waits for, `slots`, `quota`,
        `throttle` (what refusals have taught) or `breaker`; empty when no call waits.
    in_flight: calls on the wire. slots: how many there may be now.
    sent: calls since the start. throttled: those that the judge refused because of its quota.
    refused_share: their share of what was sent in about the last minute, 0 to 1.
    throttle_level: the share of the quota (without one: of the slots) that refusals leave, 0 to 1.
    is_shared: the quota is shared through a store.
    """

    target: str
    breaker: str
    waiting_by_lane: Mapping[str, int]
    in_flight: int
    slots: int
    bound_by: str = ""
    sent: int = 0
    throttled: int = 0
    refused_share: float = 0.0
    throttle_level: float = 1.0
    quota: tuple[QuotaState, ...] = ()
    is_shared: bool = False


class ServiceState(Struct, frozen=True, kw_only=True):
    """The state of the service. model, rubric: their names.

    groups: groups of two or more samples scored in one batch. flat_groups: those with equal rewards only.
    waiting_runs: runs without a deadline that wait because the judge cannot be asked, by the reason.
    """

    model: str = ""
    rubric: str = ""
    targets: tuple[TargetState, ...] = ()
    groups: int = 0
    flat_groups: int = 0
    waiting_runs: Mapping[str, int] = {}
