"""The arithmetic of monitors."""

import random
from typing import Any

import pytest

from judge_service.grading.monitoring.monitors import (
    DRIFT,
    GENEROUS,
    LONGER,
    Alarm,
    Disagreement,
    Drift,
    LengthTrend,
    Monitors,
    correlation,
    mean_of,
    rise,
)
from judge_service.values import Part, Reward

CHANCE = random.Random(7)


def test_an_alarm_is_raised_once_and_taken_back_well_below_its_limit() -> None:
    alarm = Alarm("x", 0.5)

    changes = [alarm.see(value) for value in (0.5, 0.51, 0.9, 0.45, 0.41, 0.4, 0.45, 0.6)]

    assert [change and change.is_raised for change in changes] == [
        *(None, True, None, None, None, False, None, True)
    ]


def test_drift_is_the_mean_distance_of_the_last_canaries_and_says_nothing_of_a_few() -> None:
    drift = Drift()
    few = [drift.note(score=1.0, expected=0.0) for _ in range(Drift.MIN)]
    for _ in range(Drift.KEPT):
        drift.note(score=0.4, expected=0.5)

    assert few == [0.0] * (Drift.MIN - 1) + [1.0]
    assert drift.value == pytest.approx(0.1)


def test_a_judge_off_in_both_directions_has_drifted_too() -> None:
    drift = Drift()
    for number in range(20):
        drift.note(score=0.5 + (0.4 if number % 2 else -0.4), expected=0.5)

    assert drift.value == pytest.approx(0.4)


def test_disagreement_is_a_rolling_mean_and_remembers_so_many_groups() -> None:
    seen = Disagreement()
    for number in range(5_000):
        seen.note(f"group {number // 4}", 1.0)
    assert seen.value == pytest.approx(1.0)
    assert (seen.groups, seen.groups_apart) == (seen.GROUPS, seen.GROUPS)

    for number in range(seen.KEPT):
        seen.note(f"new {number // 4}", 0.0)

    assert seen.value == pytest.approx(0.0, abs=1e-9)
    assert seen.groups == seen.GROUPS
    assert seen.groups_apart == seen.GROUPS - seen.KEPT // 4


def test_groups_that_disagree_either_way_are_apart_and_small_ones_are_not_counted() -> None:
    seen = Disagreement()
    for group, gaps in {
        "a": [0.9] * 4,
        "b": [-0.9] * 4,
        "c": [0.9] * 3,
        "d": [1, -1, 1, -1],
    }.items():
        for gap in gaps:
            seen.note(group, float(gap))
    seen.note("", 1.0)

    assert (seen.groups, seen.groups_apart) == (4, 2)


def blocks(*pairs: tuple[float, int]) -> float:
    trend = LengthTrend()
    for score, chars in pairs:
        for _ in range(LengthTrend.BLOCK):
            trend.note(score=score, chars=chars)
    return trend.value


def steps(reward: float, chars: float, count: int = 16) -> Any:
    return [(0.4 + reward * at / count, round(400 + chars * at / count)) for at in range(count)]


def test_rewards_that_rise_with_lengths_are_a_trend_of_that_growth() -> None:
    assert blocks(*steps(0.3, 400)) == pytest.approx(400 * 15 / 16 / 400, rel=0.01)


@pytest.mark.parametrize(
    "pairs",
    [
        steps(0.3, 0),
        steps(0.0, 400),
        steps(-0.3, 400),
        steps(0.3, -300),
        steps(0.3, 400, count=LengthTrend.MIN_BLOCKS - 1),
        [(0.4 + 0.3 * (at % 2), 400 + 400 * (at % 4 < 2)) for at in range(16)],
    ],
    ids=["only rewards", "only lengths", "worse", "shorter", "too few", "not together"],
)
def test_anything_else_is_none(pairs: Any) -> None:
    assert blocks(*pairs) == 0.0


def test_noise_of_ordinary_batches_is_no_trend() -> None:
    trend, most = LengthTrend(), 0.0
    for _ in range(200 * LengthTrend.BLOCK):
        value = trend.note(score=CHANCE.random(), chars=CHANCE.randint(50, 800))
        most = max(most, value or 0.0)

    assert most < LengthTrend.LIMIT


def test_the_line_and_the_correlation_are_those_of_the_textbook() -> None:
    assert rise([1.0, 2.0, 3.0, 4.0]) == pytest.approx(3.0)
    assert rise([5.0, 5.0, 5.0]) == 0.0
    assert correlation([1, 2, 3], [2, 4, 6]) == pytest.approx(1.0)
    assert correlation([1, 2, 3], [3, 2, 1]) == pytest.approx(-1.0)
    assert correlation([1, 1, 1], [1, 2, 3]) == 0.0


def test_means_are_weighted_and_of_one_kind() -> None:
    parts = (
        Part("a", 1.0, 3.0),
        Part("b", 0.0, 1.0),
        Part("c", 0.25, 1.0, kind="verify"),
        Part("d", None, 1.0, "deadline"),
    )

    assert mean_of(parts, "judge") == 0.75
    assert mean_of(parts, "verify") == 0.25
    assert mean_of((), "judge") is None


def reward(score: float | None, *, judged: float = 1.0, verified: float | None = None) -> Reward:
    parts = [Part("liked", judged, 1.0)]
    if verified is not None:
        parts.append(Part("right", verified, 1.0, kind="verify"))
    return Reward(score=score, reason=None if score is not None else "deadline", parts=tuple(parts))


def test_each_monitor_raises_its_own_alarm() -> None:
    monitors = Monitors(max_error=0.2)
    raised = [
        event.alarm
        for number in range(16 * LengthTrend.BLOCK)
        for event in monitors.note_reward(
            reward(0.3 + number / 4000, verified=0.0), group_key="g", chars=300 + number
        )
    ]
    raised += [
        event.alarm
        for _ in range(Drift.MIN)
        for event in monitors.note_canary(score=0.9, expected=0.1)
    ]

    assert sorted(raised) == sorted((DRIFT, GENEROUS, LONGER))
    seen = monitors.statistics()
    assert set(seen.raised) == {DRIFT, GENEROUS, LONGER}
    assert seen.values[DRIFT] == pytest.approx(0.8)
    assert "raised" in repr(monitors)


def test_a_sample_without_a_score_is_looked_at_by_none() -> None:
    monitors = Monitors(max_error=0.2)

    for _ in range(1000):
        assert not list(monitors.note_reward(reward(None, verified=0.0), group_key="g", chars=9))

    assert monitors.statistics().groups == 0
