"""Embedded metric format: CloudWatch's rules, and the sums of the objects."""

import json
import math
from typing import Any

import pytest

from judge_service.telemetry.emf import COUNTERS, MAX_AGE_S, UNITS, Emf
from judge_service.telemetry.events import CacheLooked, CallEnded
from judge_service.values import Usage
from tests.telemetry.conftest import Written, graded

CLOUDWATCH_UNITS = {"Count", "Milliseconds", "None", "Seconds", "Percent", "Bytes"}


def hold_to_the_format(record: dict[str, Any]) -> dict[str, Any]:
    """Fails where CloudWatch would drop a metric or a line without a word; gives the values."""
    assert len(json.dumps(record).encode()) <= 256 * 1024
    meta = record["_aws"]
    assert isinstance(meta["Timestamp"], int)
    assert meta["Timestamp"] > 1_000_000_000_000, "milliseconds"
    [directive] = meta["CloudWatchMetrics"]
    assert 1 <= len(directive["Namespace"]) <= 255
    for dimensions in directive["Dimensions"]:
        assert len(dimensions) <= 30
        assert all(isinstance(record[name], str) and record[name] for name in dimensions)
    metrics = directive["Metrics"]
    assert 1 <= len(metrics) <= 100
    assert len({metric["Name"] for metric in metrics}) == len(metrics)
    values = {}
    for metric in metrics:
        assert set(metric) <= {"Name", "Unit", "StorageResolution"}
        assert metric["Unit"] in CLOUDWATCH_UNITS
        values[metric["Name"]] = value = record[metric["Name"]]
        numbers = value if isinstance(value, list) else [value]
        assert 1 <= len(numbers) <= 100
        assert all(type(n) in (int, float) and math.isfinite(n) for n in numbers)
    return values


def call(outcome: str = "ok", *, throttled: bool = False, backend_s: float = 0.3) -> CallEnded:
    return CallEnded(
        target="t", outcome=outcome, queue_s=0.1, backend_s=backend_s, throttled=throttled
    )


def test_an_invocation_is_one_object_with_what_happened_in_it(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "SageMaker-judge"}, now=lambda: 1.79e9)
    emf(call())
    emf(call("throttled", throttled=True))
    emf(graded("a", 0.5, parts={"helpful": 1.0}, cost_usd=0.002))
    emf(graded("b", 1.0, parts={"helpful": 0.5}, cost_usd=0.001, usage=Usage(1, 2, 3, 4, 5)))
    emf(graded("c", None))
    emf(CacheLooked(hit=False))
    emf.flush()

    [record] = written.records()
    assert hold_to_the_format(record) == {
        "Samples": 3,
        "Unscored": 1,
        "Reward": [0.5, 1.0],
        "RewardSquared": [0.25, 1.0],
        "Reward_helpful": 0.75,
        "JudgeCalls": 2,
        "JudgeThrottled": 1,
        "InputTokens": 208,
        "OutputTokens": 12,
        "CacheReadTokens": 3,
        "CacheWriteTokens": 4,
        "CostUsd": 0.003,
        "DurationMs": [250.0, 250.0, 250.0],
        "QueueMs": [100.0, 100.0],
        "BackendMs": [300.0, 300.0],
    }
    assert record["FunctionName"] == "SageMaker-judge"
    assert record["_aws"]["CloudWatchMetrics"][0]["Namespace"] == "JudgeService"
    assert record["_aws"]["Timestamp"] == 1_790_000_000_000


def test_no_id_of_a_sample_is_anywhere_in_an_object(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    emf(graded("id-of-a-sample"))
    emf.flush()

    assert "id-of-a-sample" not in json.dumps(written.records())


def test_nothing_gathered_is_no_object(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    emf(graded())
    emf.flush()
    emf.flush()

    assert len(written.records()) == 1


@pytest.mark.parametrize("samples", [99, 100, 101, 1024])
def test_a_large_batch_is_split_so_that_every_array_fits_and_nothing_is_lost(
    written: Written, samples: int
) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    for number in range(samples):
        emf(call())
        emf(call())
        emf(graded(number, number / samples, parts={"helpful": 1.0}))
    emf.flush()

    values = [hold_to_the_format(record) for record in written.records()]
    assert sum(value["Samples"] for value in values) == samples
    assert sum(value["JudgeCalls"] for value in values) == 2 * samples
    rewards = [reward for value in values for reward in value.get("Reward", [])]
    assert rewards == [round(number / samples, 6) for number in range(samples)]
    assert sum(len(value.get("QueueMs", [])) for value in values) == 2 * samples


def test_a_grader_of_ones_own_with_a_thousand_parts_stays_within_the_format(
    written: Written,
) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    for number in range(100):
        emf(graded(number, parts={f"part{number}_{part}": 0.5 for part in range(10)}))
    emf.flush()

    assert written.records()
    for record in written.records():
        hold_to_the_format(record)


def test_counters_are_there_when_they_are_zero_so_that_alarms_have_data(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    emf(graded("a", None, usage=Usage()))
    emf.flush()

    [record] = written.records()
    assert {name: record[name] for name in COUNTERS} == {
        "Samples": 1,
        "Unscored": 1,
        "JudgeCalls": 0,
        "JudgeThrottled": 0,
        "InputTokens": 0,
        "OutputTokens": 0,
    }
    assert "Reward" not in record
    assert "CostUsd" not in record


def test_attempts_that_never_left_are_no_calls(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"})
    emf(call("unavailable", backend_s=0.0))
    emf(call("unavailable"))
    emf.flush()

    [record] = written.records()
    assert record["JudgeCalls"] == 1


def test_rewards_are_written_in_the_range_they_are_sent_in(written: Written) -> None:
    emf = Emf(written.lines, dimensions={"FunctionName": "f"}, lowest=-1.0)
    emf(graded("a", 0.25, parts={"helpful": 0.0}))
    emf.flush()

    [record] = written.records()
    assert record["Reward"] == [-0.5]
    assert record["RewardSquared"] == [0.25]
    assert record["Reward_helpful"] == -1.0


def test_a_service_that_is_never_flushed_writes_every_minute(written: Written) -> None:
    now = [1.79e9]
    emf = Emf(written.lines, dimensions={"Service": "s"}, now=lambda: now[0])
    emf(graded("a"))
    now[0] += MAX_AGE_S - 1
    emf(graded("b"))
    assert written.records() == []
    now[0] += 1
    emf(graded("c"))

    [record] = written.records()
    assert record["Samples"] == 3


def test_every_unit_is_one_of_cloudwatchs() -> None:
    assert set(UNITS.values()) <= CLOUDWATCH_UNITS
