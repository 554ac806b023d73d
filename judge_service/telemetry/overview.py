"""The dashboard's data, computed from the snapshots of all workers. Pure: no clock, no I/O."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TypeVar

from msgspec import Struct

from judge_service.telemetry.counters import (
    BOUNDS_S,
    CallCounters,
    Counters,
    Histogram,
    total,
)
from judge_service.telemetry.quota_use import QuotaUse, quota_uses
from judge_service.telemetry.state import TargetState
from judge_service.telemetry.window import SLOT_S, SLOTS, Extreme, Slot, Snapshot

T = TypeVar("T")

RATE_SLOTS = 5
"""The rate "now" is of the last ten seconds."""

COLUMN_SLOTS = 10
"""Slots in one column of the chart of rewards over time: 20 s, 15 columns."""

SHOWN = 8
"""How many slowest and lowest samples the page lists."""

EMPTY, NO_CALLS = Counters(), CallCounters()


class Quantiles(Struct, frozen=True, kw_only=True):
    """Quantiles of durations in seconds, read off a histogram; `None` when nothing was measured."""

    p50: float | None
    p95: float | None
    p99: float | None


class Series(Struct, frozen=True, kw_only=True):
    """One number for each finished slot, oldest first."""

    evaluations_per_s: list[float]
    unscored_per_s: list[float]
    retries_per_s: list[float]
    throttled_per_s: list[float]
    queue_p50_s: list[float | None]
    queue_p95_s: list[float | None]
    backend_p50_s: list[float | None]
    backend_p95_s: list[float | None]
    reward_mean: list[float | None]


class TargetView(Struct, frozen=True, kw_only=True):
    """One target in all workers. breaker: the worst state of all.

    bound_by: what most of the waiting calls wait for (`TargetState.bound_by`), empty when none waits.
    refused_share, throttle_level: the worst of all workers.
    """

    target: str
    breaker: str
    waiting: int
    in_flight: int
    slots: int
    bound_by: str
    refused_share: float
    throttle_level: float


class Overview(Struct, frozen=True, kw_only=True):
    """The dashboard's data. Numbers are of the last five minutes unless their name says otherwise;
    `series` and `reward_over_time` have a number for each slot.

    at_s: seconds since the epoch. workers: number of workers seen. sees_all: whether all workers can be seen.
    binding: the resource that is used most, `None` when no quota is set.
    histograms: by criterion, `reward` for the whole; the first bucket is exactly 0, the others are tenths.
    reward_over_time: histograms of the reward for 20 s each, oldest first, and their means.
    slowest: seconds and id. lowest: score and id.
    waiting_runs: runs that wait now because the judge cannot be asked, by the reason.
    """

    at_s: float
    slot_s: int
    model: str
    rubric: str
    workers: int
    sees_all: bool
    evaluations_per_s: float
    evaluations: int
    evaluations_ever: int
    waiting: int
    in_flight: int
    quota: list[QuotaUse]
    binding: QuotaUse | None
    queue: Quantiles
    backend: Quantiles
    duration: Quantiles
    reward_mean: float | None
    unscored: dict[str, int]
    retries: dict[str, int]
    failovers: dict[str, int]
    hedges: dict[str, int]
    cache: dict[str, int]
    throttled: int
    calls: int
    targets: list[TargetView]
    waiting_runs: dict[str, int]
    histograms: dict[str, list[int]]
    reward_over_time: list[list[int]]
    reward_mean_over_time: list[float | None]
    cost_usd_per_1000: float | None
    tokens_per_1000: float | None
    slowest: list[Extreme]
    lowest: list[Extreme]
    series: Series


def overview(snapshots: Sequence[Snapshot], *, sees_all: bool) -> Overview:
    """The data of all workers, at the time of the first one's snapshot."""
    at_s = snapshots[0].at_s
    last = int(at_s) // SLOT_S - 1
    slots = [slot for snapshot in snapshots for slot in snapshot.slots]
    timeline = _timeline(slots, last)
    recent = [slot for slot in slots if last - SLOTS < slot.number <= last + 1]
    counters = total(Counters(), *[slot.counters for slot in recent])
    calls = _all_calls(counters)
    quota = quota_uses(snapshots)
    targets = [target for snapshot in snapshots for target in snapshot.state.targets]
    graded = _graded([counters])
    columns = [
        total(*[one.rewards for one in timeline[start : start + COLUMN_SLOTS]])
        for start in range(0, SLOTS, COLUMN_SLOTS)
    ]
    return Overview(
        at_s=at_s,
        slot_s=SLOT_S,
        model=snapshots[0].state.model,
        rubric=snapshots[0].state.rubric,
        workers=sum(bool(snapshot.state.targets) for snapshot in snapshots),
        sees_all=sees_all,
        evaluations_per_s=_graded(timeline[-RATE_SLOTS:]) / (RATE_SLOTS * SLOT_S),
        evaluations=graded,
        evaluations_ever=sum(sum(s.counters.samples.values()) for s in snapshots),
        waiting=sum(sum(t.waiting_by_lane.values()) for t in targets),
        in_flight=sum(target.in_flight for target in targets),
        quota=quota,
        binding=max(quota, key=lambda use: use.share, default=None),
        queue=_quantiles(calls.queue_s),
        backend=_quantiles(calls.backend_s),
        duration=_quantiles(counters.duration_s),
        reward_mean=_mean(counters.rewards),
        unscored={word: times for word, times in counters.samples.items() if word != "scored"},
        retries=counters.retries,
        failovers=counters.failovers,
        hedges=counters.hedges,
        cache=counters.cache,
        throttled=calls.throttled,
        calls=sum(calls.outcomes.values()),
        targets=_target_views(targets),
        waiting_runs=dict(sum((Counter(s.state.waiting_runs) for s in snapshots), Counter())),
        histograms={
            "reward": counters.rewards.counts,
            **{name: seen.counts for name, seen in counters.criteria.items()},
        },
        reward_over_time=[column.counts for column in columns],
        reward_mean_over_time=[_mean(column) for column in columns],
        cost_usd_per_1000=1000 * counters.cost_usd / counters.priced if counters.priced else None,
        tokens_per_1000=(
            1000 * (counters.input_tokens + counters.output_tokens) / graded if graded else None
        ),
        slowest=[Extreme(-one.value, one.id) for one in _extremes(slot.slowest for slot in recent)],
        lowest=_extremes(slot.lowest for slot in recent),
        series=_series(timeline),
    )


def _target_views(targets: Sequence[TargetState]) -> list[TargetView]:
    by_name: dict[str, list[TargetState]] = {}
    for target in targets:
        by_name.setdefault(target.target, []).append(target)
    return [
        TargetView(
            target=name,
            breaker=_worst([one.breaker for one in ones]),
            waiting=sum(sum(one.waiting_by_lane.values()) for one in ones),
            in_flight=sum(one.in_flight for one in ones),
            slots=sum(one.slots for one in ones),
            bound_by=max(ones, key=lambda one: sum(one.waiting_by_lane.values())).bound_by,
            refused_share=max(one.refused_share for one in ones),
            throttle_level=min(one.throttle_level for one in ones),
        )
        for name, ones in by_name.items()
    ]


def _worst(states: Sequence[str]) -> str:
    return next((state for state in ("open", "half_open") if state in states), "closed")


def _timeline(slots: Iterable[Slot], last: int) -> list[Counters]:
    """The counters of each slot up to `last`, summed over workers, empty slots included."""
    by_number: dict[int, list[Counters]] = {}
    for slot in slots:
        by_number.setdefault(slot.number, []).append(slot.counters)
    return [_sum(by_number.get(number, [EMPTY])) for number in range(last - SLOTS + 1, last + 1)]


def _all_calls(counters: Counters) -> CallCounters:
    return _sum(list(counters.calls.values()) or [NO_CALLS])


def _sum(parts: Sequence[T]) -> T:
    """The sum; a single object is not copied, because most slots have one worker and adding is expensive."""
    return parts[0] if len(parts) == 1 else total(*parts)


def _graded(several: Iterable[Counters]) -> int:
    return sum(sum(counters.samples.values()) for counters in several)


def _series(timeline: Sequence[Counters]) -> Series:
    calls = [_all_calls(counters) for counters in timeline]
    queue = [_quantiles(one.queue_s) for one in calls]
    backend = [_quantiles(one.backend_s) for one in calls]
    return Series(
        evaluations_per_s=[_graded([counters]) / SLOT_S for counters in timeline],
        unscored_per_s=[
            (_graded([counters]) - counters.samples.get("scored", 0)) / SLOT_S
            for counters in timeline
        ],
        retries_per_s=[sum(counters.retries.values()) / SLOT_S for counters in timeline],
        throttled_per_s=[one.throttled / SLOT_S for one in calls],
        queue_p50_s=[one.p50 for one in queue],
        queue_p95_s=[one.p95 for one in queue],
        backend_p50_s=[one.p50 for one in backend],
        backend_p95_s=[one.p95 for one in backend],
        reward_mean=[_mean(counters.rewards) for counters in timeline],
    )


def _extremes(kept: Iterable[Sequence[Extreme]]) -> list[Extreme]:
    return sorted(one for some in kept for one in some)[:SHOWN]


def _mean(histogram: Histogram) -> float | None:
    times = sum(histogram.counts)
    return histogram.total / times if times else None


def _quantiles(histogram: Histogram) -> Quantiles:
    return Quantiles(
        p50=quantile_s(histogram, 0.5),
        p95=quantile_s(histogram, 0.95),
        p99=quantile_s(histogram, 0.99),
    )


def quantile_s(histogram: Histogram, share: float) -> float | None:
    """The duration below which `share` of all values lie, interpolated linearly inside a bucket."""
    rank = share * sum(histogram.counts)
    if not rank:
        return None
    below, lower = 0, 0.0
    for bound, count in zip(BOUNDS_S, histogram.counts, strict=False):
        if below + count >= rank and count:
            return lower + (bound - lower) * (rank - below) / count
        below, lower = below + count, bound
    return BOUNDS_S[-1]
