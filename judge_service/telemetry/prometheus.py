"""Metrics for Prometheus, made from the snapshots of all workers at each scrape.

`METRICS` is the whole list; a test compares docs/metrics.md with it. Every label has few values:
`counters.MAX_NAMES` bounds targets and criteria, and all other values are fixed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from judge_service.telemetry.counters import BOUNDS_S, BOUNDS_SCORE, Counters, Histogram, total
from judge_service.telemetry.quota_use import quota_uses
from judge_service.telemetry.state import TargetState
from judge_service.telemetry.window import Snapshot

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

METRICS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "judge_samples_total": (
        "Samples graded; the outcome is `scored` or the reason of the missing score.",
        ("outcome",),
    ),
    "judge_sample_duration_seconds": ("From the arrival of a sample to its reward.", ()),
    "judge_reward": ("Rewards in [0, 1], scored samples only.", ()),
    "judge_criterion_score": ("Scores of each criterion in [0, 1].", ("criterion",)),
    "judge_calls_total": ("Attempts at a target, by how they ended.", ("target", "outcome")),
    "judge_calls_throttled_total": ("Attempts that the quota refused.", ("target",)),
    "judge_call_queue_seconds": ("Waiting for quota and for a slot, before a call.", ("target",)),
    "judge_call_backend_seconds": ("From sending a call to its whole answer.", ("target",)),
    "judge_retries_total": ("Attempts made again, by the reason.", ("reason",)),
    "judge_failovers_total": ("Calls handed to the next target, by the reason.", ("reason",)),
    "judge_hedges_total": ("Calls sent twice, by what became of the second copy.", ("outcome",)),
    "judge_cache_lookups_total": ("Questions put to the cache.", ("outcome",)),
    "judge_breaker_changes_total": ("Changes of a breaker, by the state entered.", ("state",)),
    "judge_groups_total": (
        "Groups of samples scored in one batch, by whether their rewards differ.",
        ("variance",),
    ),
    "judge_adaptations_total": (
        "Lasting changes of how the judge is asked, by the channel used now; `request` for a part left out.",
        ("now",),
    ),
    "judge_guards_total": ("Responses in which a guard found something, by what.", ("guard",)),
    "judge_alarms_total": ("Alarms that monitors raised, and took back.", ("alarm",)),
    "judge_input_tokens_total": ("Tokens that the judge read, cached ones included.", ()),
    "judge_output_tokens_total": ("Tokens that the judge wrote.", ()),
    "judge_prompt_cache_tokens_total": (
        "Tokens of the input that the judge read from its prompt cache, and wrote to it.",
        ("what",),
    ),
    "judge_cost_usd_total": ("Cost of the samples whose price is known.", ()),
    "judge_waiting_calls": ("Calls that wait for quota.", ("target", "lane")),
    "judge_waiting_for_slot": ("Calls that wait while slots bind, not quota.", ("target",)),
    "judge_in_flight_calls": ("Calls on the wire.", ("target",)),
    "judge_slots": ("Calls that may be on the wire now.", ("target",)),
    "judge_refused_ratio": (
        "Share of the calls of the last minute that the quota refused, in the worst worker.",
        ("target",),
    ),
    "judge_throttle_level": (
        "Share of the quota (without one: of the slots) that refusals leave, in the worst worker.",
        ("target",),
    ),
    "judge_quota_per_minute": ("Units a minute of a quota.", ("target", "resource")),
    "judge_quota_used_ratio": (
        "Share of a quota that the last minute used; the largest one binds.",
        ("target", "resource"),
    ),
    "judge_breaker_open": ("Workers whose breaker is not closed.", ("target",)),
    "judge_waiting_runs": (
        "Jobs and other runs without a deadline that wait until the judge can be asked, by the reason.",
        ("reason",),
    ),
    "judge_workers": ("Workers that these numbers are of.", ()),
}

WAIT_REASONS = ("denied", "quota_exhausted", "throttled", "unavailable")
"""Why a run may wait (`grading.outage`). Each has a value at all times, so that an alert sees it end."""


def exposition(snapshots: Sequence[Snapshot]) -> bytes:
    """The metrics of all workers in Prometheus's text format. Takes milliseconds: not for the event loop."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Scrape(snapshots))
    return generate_latest(registry)


class _Scrape(Collector):
    """The metrics of one scrape."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._snapshots = snapshots

    def collect(self) -> Iterator[Metric]:
        counters = total(*[snapshot.counters for snapshot in self._snapshots])
        yield from _counters(counters)
        yield from _histograms(counters)
        yield from _gauges(self._snapshots)


def _counters(counters: Counters) -> Iterator[Metric]:
    yield _counter("judge_samples_total", _by_word(counters.samples))
    yield _counter(
        "judge_calls_total",
        [
            ((target, outcome), times)
            for target, calls in counters.calls.items()
            for outcome, times in calls.outcomes.items()
        ],
    )
    throttled = [((target,), calls.throttled) for target, calls in counters.calls.items()]
    yield _counter("judge_calls_throttled_total", throttled)
    yield _counter("judge_retries_total", _by_word(counters.retries))
    yield _counter("judge_failovers_total", _by_word(counters.failovers))
    yield _counter("judge_hedges_total", _by_word(counters.hedges))
    yield _counter("judge_cache_lookups_total", _by_word(counters.cache))
    yield _counter("judge_breaker_changes_total", _by_word(counters.breaker))
    yield _counter("judge_groups_total", _by_word(counters.groups))
    yield _counter("judge_adaptations_total", _by_word(counters.adaptations))
    yield _counter("judge_guards_total", _by_word(counters.guards))
    yield _counter("judge_alarms_total", _by_word(counters.alarms))
    yield _counter("judge_input_tokens_total", [((), counters.input_tokens)])
    yield _counter("judge_output_tokens_total", [((), counters.output_tokens)])
    cached = {"read": counters.cache_read_tokens, "written": counters.cache_write_tokens}
    yield _counter("judge_prompt_cache_tokens_total", _by_word(cached))
    yield _counter("judge_cost_usd_total", [((), counters.cost_usd)])


def _histograms(counters: Counters) -> Iterator[Metric]:
    yield _histogram("judge_sample_duration_seconds", BOUNDS_S, [((), counters.duration_s)])
    yield _histogram("judge_reward", BOUNDS_SCORE, [((), counters.rewards)])
    criteria = [((name,), seen) for name, seen in counters.criteria.items()]
    yield _histogram("judge_criterion_score", BOUNDS_SCORE, criteria)
    queue = [((target,), calls.queue_s) for target, calls in counters.calls.items()]
    yield _histogram("judge_call_queue_seconds", BOUNDS_S, queue)
    backend = [((target,), calls.backend_s) for target, calls in counters.calls.items()]
    yield _histogram("judge_call_backend_seconds", BOUNDS_S, backend)


def _gauges(snapshots: Sequence[Snapshot]) -> Iterator[Metric]:
    targets = [target for snapshot in snapshots for target in snapshot.state.targets]
    lanes = [
        ((target.target, lane), waiting)
        for target in targets
        for lane, waiting in target.waiting_by_lane.items()
    ]
    yield _gauge("judge_waiting_calls", lanes)
    yield _gauge("judge_waiting_for_slot", [((t.target,), _waiting_for_slot(t)) for t in targets])
    yield _gauge("judge_in_flight_calls", [((t.target,), t.in_flight) for t in targets])
    yield _gauge("judge_slots", [((t.target,), t.slots) for t in targets])
    yield _gauge("judge_breaker_open", [((t.target,), t.breaker != "closed") for t in targets])
    for name, value in _throttling(targets):
        yield _gauge(name, value)
    uses = quota_uses(snapshots)
    yield _gauge("judge_quota_per_minute", [((u.target, u.resource), u.per_minute) for u in uses])
    yield _gauge("judge_quota_used_ratio", [((u.target, u.resource), u.share) for u in uses])
    yield _gauge("judge_waiting_runs", _waiting_runs(snapshots))
    alive = sum(bool(snapshot.state.targets) for snapshot in snapshots)
    yield _gauge("judge_workers", [((), alive)])


Values = Iterable[tuple[tuple[str, ...], float]]


def _by_word(counts: Mapping[str, int]) -> Values:
    return [((word,), times) for word, times in counts.items()]


def _counter(name: str, values: Values) -> Metric:
    text, labels = METRICS[name]
    family = CounterMetricFamily(name, text, labels=labels)
    for label_values, value in values:
        family.add_metric(label_values, value)
    return family


def _gauge(name: str, values: Values) -> Metric:
    """A gauge; values of several workers with the same labels are added."""
    text, labels = METRICS[name]
    sums: dict[tuple[str, ...], float] = {}
    for label_values, value in values:
        sums[label_values] = sums.get(label_values, 0) + value
    family = GaugeMetricFamily(name, text, labels=labels)
    for label_values, value in sums.items():
        family.add_metric(label_values, value)
    return family


def _histogram(
    name: str, bounds: tuple[float, ...], seen: Sequence[tuple[tuple[str, ...], Histogram]]
) -> Metric:
    text, labels = METRICS[name]
    family = HistogramMetricFamily(name, text, labels=labels)
    for label_values, histogram in seen:
        family.add_metric(label_values, _buckets(bounds, histogram), histogram.total)
    return family


def _buckets(bounds: tuple[float, ...], histogram: Histogram) -> list[tuple[str, float]]:
    below, buckets = 0, []
    for bound, count in zip([*map(str, bounds), "+Inf"], histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return buckets


def _throttling(
    targets: Sequence[TargetState],
) -> Iterator[tuple[str, list[tuple[tuple[str], float]]]]:
    """How refusals slow each target: the worst of all workers."""
    by_name: dict[str, list[TargetState]] = {}
    for target in targets:
        by_name.setdefault(target.target, []).append(target)
    refused = [((name,), max(t.refused_share for t in ts)) for name, ts in by_name.items()]
    levels = [((name,), min(t.throttle_level for t in ts)) for name, ts in by_name.items()]
    yield "judge_refused_ratio", refused
    yield "judge_throttle_level", levels


def _waiting_runs(snapshots: Sequence[Snapshot]) -> Values:
    none = [((reason,), 0) for reason in WAIT_REASONS]
    states = [snapshot.state for snapshot in snapshots]
    return none + [((why,), runs) for one in states for why, runs in one.waiting_runs.items()]


def _waiting_for_slot(target: TargetState) -> int:
    """Calls in the queue of each target whose slots bind; one queue waits for slots and quota."""
    return sum(target.waiting_by_lane.values()) if target.bound_by == "slots" else 0
