import re
from pathlib import Path

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from judge_service.grading.outage import PASSING
from judge_service.telemetry.emf import COUNTERS, PREFIX, UNITS
from judge_service.telemetry.events import (
    AlarmChanged,
    BreakerChanged,
    CacheLooked,
    CallEnded,
    ChannelChanged,
    FailedOver,
    GroupScored,
    GuardFired,
    Hedged,
    RequestChanged,
    Retried,
)
from judge_service.telemetry.logs import FIELDS, LEVELS, _snake
from judge_service.telemetry.prometheus import METRICS, WAIT_REASONS, exposition
from judge_service.telemetry.quota_use import quota_uses
from judge_service.telemetry.state import QuotaState, ServiceState, TargetState
from judge_service.telemetry.window import Snapshot, Window
from judge_service.values import UNSCORED_REASONS
from tests.telemetry.conftest import graded

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
NOW_S = 1_790_000_000.0


def target(spent: float, *, breaker: str = "closed", is_shared: bool = False) -> TargetState:
    return TargetState(
        target="bedrock nova",
        breaker=breaker,
        waiting_by_lane={"interactive": 0, "training": 7, "bulk": 0},
        bound_by="quota",
        throttled=40,
        refused_share=0.02,
        throttle_level=0.9,
        in_flight=5,
        slots=8,
        quota=(
            QuotaState(resource="requests", per_minute=600.0, spent=spent),
            QuotaState(resource="tokens", per_minute=1_000_000.0, spent=spent * 1000),
        ),
        is_shared=is_shared,
    )


def snapshot(*, spent: float = 300.0, breaker: str = "closed", is_shared: bool = False) -> Snapshot:
    clock = [NOW_S]
    window = Window(now=lambda: clock[0])
    states = [ServiceState(targets=(target(0.0, is_shared=is_shared),))]
    window.watch(lambda: states[0])
    for event in (
        CacheLooked(hit=False),
        CallEnded(target="bedrock nova", outcome="ok", queue_s=0.02, backend_s=0.3),
        CallEnded(
            target="bedrock nova", outcome="throttled", queue_s=0, backend_s=0.1, throttled=True
        ),
        Retried(attempt=1, wait_s=0.1, reason="throttled", throttled=True),
        FailedOver(position=1, reason="unavailable"),
        Hedged(after_s=0.3, won=False),
        BreakerChanged(target="bedrock nova", state="open"),
        GroupScored(size=8, spread=0.0, is_flat=True),
        ChannelChanged(model="m", refused="schema", now="text"),
        RequestChanged(model="m", changes="no temperature"),
        GuardFired(guard="degenerate"),
        AlarmChanged(alarm="judge_drift", is_raised=True, value=0.3, limit=0.2),
        graded("a", 0.5, parts={"helpful": 1.0}, cost_usd=0.25),
        graded("b", None),
    ):
        window(event)
    clock[0] += 60
    states[0] = ServiceState(
        targets=(target(spent, breaker=breaker, is_shared=is_shared),),
        waiting_runs={"quota_exhausted": 2},
    )
    return msgspec.json.decode(window.snapshot(1), type=Snapshot)


def values(text: bytes) -> dict[str, float]:
    """By name and labels, as the reference parser reads them."""
    return {
        f"{sample.name}{dict(sorted(sample.labels.items())) or ''}": sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_a_scrape_gives_what_was_counted() -> None:
    seen = values(exposition([snapshot()]))

    assert seen["judge_samples_total{'outcome': 'scored'}"] == 1
    assert seen["judge_samples_total{'outcome': 'throttled'}"] == 1
    assert seen["judge_reward_sum"] == 0.5
    assert seen["judge_reward_bucket{'le': '0.4'}"] == 0
    assert seen["judge_reward_bucket{'le': '0.5'}"] == 1
    assert seen["judge_criterion_score_count{'criterion': 'helpful'}"] == 1
    assert seen["judge_calls_total{'outcome': 'ok', 'target': 'bedrock nova'}"] == 1
    assert seen["judge_calls_throttled_total{'target': 'bedrock nova'}"] == 1
    assert seen["judge_call_backend_seconds_count{'target': 'bedrock nova'}"] == 2
    assert seen["judge_call_backend_seconds_sum{'target': 'bedrock nova'}"] == pytest.approx(0.4)
    assert seen["judge_groups_total{'variance': 'zero'}"] == 1
    assert seen["judge_guards_total{'guard': 'degenerate'}"] == 1
    assert seen["judge_alarms_total{'alarm': 'judge_drift'}"] == 1
    assert seen["judge_cost_usd_total"] == 0.25
    assert seen["judge_in_flight_calls{'target': 'bedrock nova'}"] == 5
    assert seen["judge_waiting_calls{'lane': 'training', 'target': 'bedrock nova'}"] == 7
    assert seen["judge_quota_used_ratio{'resource': 'requests', 'target': 'bedrock nova'}"] == 0.5
    assert seen["judge_quota_used_ratio{'resource': 'tokens', 'target': 'bedrock nova'}"] == 0.3
    assert seen["judge_waiting_runs{'reason': 'quota_exhausted'}"] == 2
    assert seen["judge_waiting_runs{'reason': 'unavailable'}"] == 0
    assert seen["judge_workers"] == 1


def test_workers_with_a_part_of_the_quota_each_add_up_to_one_service() -> None:
    seen = values(exposition([snapshot(spent=300), snapshot(spent=900, breaker="open")]))

    assert seen["judge_samples_total{'outcome': 'scored'}"] == 2
    assert seen["judge_in_flight_calls{'target': 'bedrock nova'}"] == 10
    assert seen["judge_quota_per_minute{'resource': 'requests', 'target': 'bedrock nova'}"] == 1200
    assert seen["judge_quota_used_ratio{'resource': 'requests', 'target': 'bedrock nova'}"] == 1.0
    assert seen["judge_breaker_open{'target': 'bedrock nova'}"] == 1
    assert seen["judge_waiting_runs{'reason': 'quota_exhausted'}"] == 4
    assert seen["judge_workers"] == 2


def test_every_reason_for_which_a_run_may_wait_has_a_value_at_all_times() -> None:
    assert set(WAIT_REASONS) == PASSING | {"denied"}


def test_workers_that_share_a_quota_through_a_store_each_see_all_of_it() -> None:
    shares = [snapshot(spent=150, is_shared=True), snapshot(spent=300, is_shared=True)]

    requests = quota_uses(shares)[0]

    assert requests.per_minute == 600
    assert requests.used_per_minute == 450
    assert requests.share == 0.75


def test_what_was_used_more_than_a_minute_ago_does_not_count() -> None:
    clock, spent = [NOW_S], [0.0]
    window = Window(now=lambda: clock[0])
    window.watch(lambda: ServiceState(targets=(target(spent[0]),)))
    spent[0] = 300.0
    window(graded())
    clock[0] += 120

    [requests, _] = quota_uses([msgspec.json.decode(window.snapshot(1), type=Snapshot)])

    assert requests.used_per_minute == 0.0


def test_a_scrape_is_of_every_metric_that_is_listed_and_of_no_other() -> None:
    families = text_string_to_metric_families(exposition([snapshot()]).decode())
    names = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in families
        if family.samples
    }

    assert names == set(METRICS)


def test_the_page_lists_every_metric_with_its_labels_and_no_other() -> None:
    text = PAGE.read_text()
    rows = dict(re.findall(r"^\| `(judge_\w+)` \| ([^|]*) \|", text, re.MULTILINE))

    assert set(rows) == set(METRICS)
    for name, (_, labels) in METRICS.items():
        assert re.findall(r"`(\w+)`", rows[name]) == list(labels)


def test_the_page_lists_every_field_of_a_line_and_no_other() -> None:
    section = PAGE.read_text().split("## The log line of a sample")[1].split("\n## ")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)) == set(FIELDS)


def test_the_page_explains_every_reason_of_a_missing_score() -> None:
    section = PAGE.read_text().split("## Why a sample has no score")[1].split("\n## ")[0]

    assert dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", section, re.MULTILINE)) == UNSCORED_REASONS


def test_the_page_lists_every_operators_event() -> None:
    text = PAGE.read_text()

    assert all(f"`{_snake(kind.__name__)}`" in text for kind in LEVELS)


def test_the_page_lists_every_metric_for_cloudwatch_with_its_unit() -> None:
    section = PAGE.read_text().split("## CloudWatch")[1].split("\n## ")[0]
    rows = dict(re.findall(r"^\| `([A-Z]\w+)` \| ([^|]*) \|", section, re.MULTILINE))

    assert {name: unit.strip() for name, unit in rows.items()} == dict(UNITS)
    assert set(COUNTERS) <= set(UNITS)
    assert f"`{PREFIX}" in section
