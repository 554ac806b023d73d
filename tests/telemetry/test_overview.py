import msgspec
import pytest

from judge_service.telemetry.counters import BOUNDS_S, Histogram
from judge_service.telemetry.events import CallEnded, Retried
from judge_service.telemetry.overview import COLUMN_SLOTS, RATE_SLOTS, SHOWN, overview, quantile_s
from judge_service.telemetry.state import QuotaState, ServiceState, TargetState
from judge_service.telemetry.window import SLOT_S, SLOTS, Snapshot, Window
from judge_service.values import Usage
from tests.telemetry.conftest import graded


class Worker:
    """A window with a clock that is moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0
        self.spent = 0.0
        self.breaker = "closed"
        self.window = Window(now=lambda: self.now_s)
        self.window.watch(self.state)

    def state(self) -> ServiceState:
        target = TargetState(
            target="t",
            breaker=self.breaker,
            waiting_by_lane={"training": 4},
            bound_by="slots",
            in_flight=2,
            slots=8,
            quota=(
                QuotaState(resource="requests", per_minute=100.0, spent=self.spent),
                QuotaState(resource="tokens", per_minute=1000.0, spent=self.spent * 20),
            ),
        )
        waiting = {"unavailable": 1}
        return ServiceState(
            model="nova", rubric="helpful@1", targets=(target,), waiting_runs=waiting
        )

    def snapshot(self) -> Snapshot:
        return msgspec.json.decode(self.window.snapshot(1), type=Snapshot)


def test_the_rate_is_of_the_last_whole_slots_of_all_workers() -> None:
    one, other = Worker(), Worker()
    for worker in (one, other):
        for number in range(RATE_SLOTS):
            for _ in range(6):
                worker.window(graded(number))
            worker.now_s += SLOT_S

    view = overview([one.snapshot(), other.snapshot()], sees_all=True)

    assert view.evaluations_per_s == 6.0
    assert view.evaluations == view.evaluations_ever == 12 * RATE_SLOTS
    assert view.series.evaluations_per_s[-RATE_SLOTS:] == [6.0] * RATE_SLOTS
    assert view.series.evaluations_per_s[:-RATE_SLOTS] == [0.0] * (SLOTS - RATE_SLOTS)
    assert (view.waiting, view.in_flight, view.workers) == (8, 4, 2)
    assert view.waiting_runs == {"unavailable": 2}


def test_the_resource_that_is_used_most_binds() -> None:
    worker = Worker()
    worker.window(graded())
    worker.now_s += 60
    worker.spent = 40.0

    view = overview([worker.snapshot()], sees_all=False)

    assert {use.resource: use.share for use in view.quota} == {"requests": 0.4, "tokens": 0.8}
    assert view.binding is not None
    assert view.binding.resource == "tokens"


def test_a_young_service_does_not_look_like_a_flood() -> None:
    worker = Worker()
    worker.now_s += 1
    worker.spent = 1.0

    assert overview([worker.snapshot()], sees_all=False).quota[0].used_per_minute == 6.0


def test_queue_and_backend_time_are_apart_and_quantiles_lie_in_their_bucket() -> None:
    worker = Worker()
    for _ in range(100):
        worker.window(CallEnded(target="t", outcome="ok", queue_s=0.002, backend_s=0.3))
    worker.now_s += SLOT_S

    view = overview([worker.snapshot()], sees_all=False)

    assert view.queue.p50 is not None
    assert 0.001 <= view.queue.p50 <= 0.0025
    assert view.backend.p95 is not None
    assert 0.25 <= view.backend.p95 <= 0.5
    assert view.series.backend_p50_s[-1] == view.backend.p50
    assert view.series.backend_p50_s[-2] is None


@pytest.mark.parametrize(
    ("counts", "share", "expected"),
    [
        ({}, 0.5, None),
        ({0: 1}, 0.5, 0.0005),
        ({0: 1, 4: 1}, 0.5, 0.001),
        ({4: 4}, 0.5, 0.0175),
        ({len(BOUNDS_S): 1}, 0.5, 60.0),
    ],
)
def test_a_quantile_is_read_off_the_buckets(
    counts: dict[int, int], share: float, expected: float | None
) -> None:
    histogram = Histogram([counts.get(n, 0) for n in range(len(BOUNDS_S) + 1)])

    assert quantile_s(histogram, share) == pytest.approx(expected)


def test_cost_and_tokens_are_of_a_thousand_evaluations() -> None:
    worker = Worker()
    for _ in range(4):
        worker.window(graded(cost_usd=0.0005, usage=Usage(100, 10, 0, 0, 1)))
    worker.window(graded("without a price", usage=Usage(100, 10, 0, 0, 1)))

    view = overview([worker.snapshot()], sees_all=False)

    assert view.cost_usd_per_1000 == pytest.approx(0.5)
    assert view.tokens_per_1000 == 110_000


def test_unscored_samples_and_retries_are_by_reason() -> None:
    worker = Worker()
    worker.window(graded("a", None, reason="deadline"))
    worker.window(graded("b", None, reason="deadline"))
    worker.window(graded("c", 1.0))
    worker.window(Retried(attempt=1, wait_s=0.1, reason="unavailable", throttled=False))

    view = overview([worker.snapshot()], sees_all=False)

    assert view.unscored == {"deadline": 2}
    assert view.retries == {"unavailable": 1}
    assert view.reward_mean == 1.0


def test_the_worst_state_of_a_breaker_is_shown() -> None:
    one, other = Worker(), Worker()
    other.breaker = "half_open"

    [target] = overview([one.snapshot(), other.snapshot()], sees_all=True).targets

    assert target.breaker == "half_open"
    assert target.slots == 16


def test_rewards_are_shown_for_each_criterion_and_over_time() -> None:
    worker = Worker()
    worker.window(graded("a", 0.0, parts={"helpful": 1.0}))
    worker.now_s += COLUMN_SLOTS * SLOT_S
    worker.window(graded("b", 1.0, parts={"helpful": 0.0}))
    worker.now_s += SLOT_S

    view = overview([worker.snapshot()], sees_all=False)

    assert list(view.histograms) == ["reward", "helpful"]
    assert view.histograms["reward"][0] == view.histograms["reward"][10] == 1
    assert len(view.reward_over_time) == SLOTS // COLUMN_SLOTS
    assert [sum(column) for column in view.reward_over_time[-2:]] == [1, 1]


def test_slowest_and_lowest_are_of_the_last_minutes_and_have_ids_only() -> None:
    worker = Worker()
    worker.window(graded("too old", 0.0, duration_s=99))
    worker.now_s += SLOTS * SLOT_S
    for number in range(30):
        worker.window(graded(f"id{number}", number / 30, duration_s=number))
        worker.now_s += SLOT_S

    view = overview([worker.snapshot()], sees_all=False)

    assert [one.id for one in view.slowest] == [f"id{n}" for n in range(29, 29 - SHOWN, -1)]
    assert view.slowest[0].value == 29
    assert [one.id for one in view.lowest] == [f"id{n}" for n in range(SHOWN)]


def test_a_service_without_a_quota_is_bound_by_none() -> None:
    window = Window()
    window.watch(lambda: ServiceState(model="embedded"))

    view = overview([msgspec.json.decode(window.snapshot(1), type=Snapshot)], sees_all=False)

    assert view.binding is None
    assert view.reward_mean is view.cost_usd_per_1000 is view.tokens_per_1000 is None
