"""How much of each quota the last minute used. The resource with the largest share binds."""

from collections.abc import Sequence

from msgspec import Struct

from judge_service.telemetry.state import QuotaState, TargetState
from judge_service.telemetry.window import SLOT_S, Snapshot

SPAN_S = 60.0
"""Quotas are per minute."""

MIN_SPAN_S = 10.0
"""The shortest span over which use is measured; over less, the first call would look like a flood."""


class QuotaUse(Struct, frozen=True, kw_only=True):
    """The use of one resource of one target. share: `used_per_minute` of `per_minute`, 1 is all of it."""

    target: str
    resource: str
    used_per_minute: float
    per_minute: float
    share: float


def quota_uses(snapshots: Sequence[Snapshot]) -> list[QuotaUse]:
    """The use by all workers together.

    A worker that shares a quota through a store reports all of it; other workers report their part.
    """
    used: dict[tuple[str, str], float] = {}
    allowed: dict[tuple[str, str], float] = {}
    for snapshot in snapshots:
        for target in snapshot.state.targets:
            for quota in target.quota:
                key = (target.target, quota.resource)
                used[key] = used.get(key, 0.0) + _used_per_minute(snapshot, target, quota)
                before = 0.0 if target.is_shared else allowed.get(key, 0.0)
                allowed[key] = before + quota.per_minute
    return [
        QuotaUse(
            target=target,
            resource=resource,
            used_per_minute=amount,
            per_minute=allowed[target, resource],
            share=amount / allowed[target, resource],
        )
        for (target, resource), amount in used.items()
    ]


def _used_per_minute(snapshot: Snapshot, target: TargetState, quota: QuotaState) -> float:
    span_s = min(SPAN_S, max(MIN_SPAN_S, snapshot.at_s - snapshot.since_s))
    oldest = (snapshot.at_s - SPAN_S) // SLOT_S
    for slot in snapshot.slots:
        before = slot.spent.get(target.target, {}).get(quota.resource)
        if slot.number >= oldest and before is not None:
            return (quota.spent - before) * 60 / span_s
    return 0.0
