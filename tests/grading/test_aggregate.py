from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.grading import Rubric, aggregate
from judge_service.values import Criterion, Gate, Part, Verdict


def rubric(*criteria: Criterion, aggregation: Any = "weighted_mean") -> Rubric:
    return Rubric(
        name="test", version="", criteria=criteria, system="", user="", aggregation=aggregation
    )


GATED = rubric(
    Criterion(name="good", description="", weight=3),
    Criterion(name="safe", description="", weight=1, gate=Gate(0.5, 0.1)),
)


@pytest.mark.parametrize(
    ("good", "safe", "score"),
    [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 1.0, 0.625), (1.0, 0.5, 0.875), (1.0, 0.3, 0.1)],
)
def test_the_score_is_the_weighted_mean_capped_by_gates(
    good: float, safe: float, score: float
) -> None:
    assert aggregate(Verdict({"good": good, "safe": safe}, {}), GATED)[0] == pytest.approx(score)


@pytest.mark.parametrize(
    ("gate", "limits"),
    [
        (Gate(0.5, 0.1), {0.0: 0.1, 0.3: 0.1, 0.4: 0.55, 0.45: 0.775, 0.5: 1.0, 1.0: 1.0}),
        (Gate(0.5, 0.1, 0.0), {0.0: 0.1, 0.4999: 0.1, 0.5: 1.0}),
        (Gate(0.1, 0.0, 0.5), {0.0: 0.0, 0.05: 0.5, 0.1: 1.0}),
        (Gate(0.0, 0.0), {0.0: 1.0}),
    ],
    ids=["slope", "cliff", "wider than it is high", "never"],
)
def test_a_gate_limits_along_a_slope_unless_it_is_a_cliff(
    gate: Gate, limits: dict[float, float]
) -> None:
    assert {score: gate.limit(score) for score in limits} == pytest.approx(limits)


@given(st.builds(Gate, st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)), st.floats(0, 1))
def test_a_gate_limits_less_the_better_its_criterion(gate: Gate, score: float) -> None:
    assert gate.cap <= gate.limit(score) <= 1.0 + 1e-12
    assert gate.limit(score) <= gate.limit(min(score + 0.01, 1.0)) + 1e-9


@pytest.mark.parametrize(
    ("aggregation", "scores", "score"),
    [
        ("min", (0.9, 0.2), 0.2),
        ("geometric", (0.5, 0.5), 0.5),
        ("geometric", (0.0, 0.0), 0.0),
        ("geometric", (1.0, 1.0), 1.0),
        # moved to 1 and 0.05, sqrt(0.05) is 0.2236, and moved back it is 0.1828
        ("geometric", (1.0, 0.0), 0.18275),
        ("weighted_mean", (1.0, 0.0), 0.5),
    ],
)
def test_the_aggregation_makes_one_score_of_all(
    aggregation: Any, scores: tuple[float, float], score: float
) -> None:
    both = rubric(
        Criterion(name="a", description=""),
        Criterion(name="b", description=""),
        aggregation=aggregation,
    )
    verdict = Verdict(dict(zip("ab", scores, strict=True)), {})
    assert aggregate(verdict, both)[0] == pytest.approx(score, abs=1e-5)


def test_a_part_says_who_scored_it() -> None:
    checked = rubric(Criterion(name="right", description="", kind="verify", verify="exact"))
    assert aggregate(Verdict({"right": 1.0}, {}), checked)[1] == (
        Part("right", 1.0, 1, kind="verify"),
    )


def test_a_gate_never_raises_a_score() -> None:
    assert aggregate(Verdict({"good": 0.0, "safe": 0.1}, {}), GATED)[0] == pytest.approx(0.025)


def test_one_unscorable_criterion_leaves_no_score_but_all_parts() -> None:
    score, parts = aggregate(Verdict({"safe": 1.0}, {"good": "cannot_judge"}), GATED)
    assert score is None
    assert parts == (Part("good", None, 3, "cannot_judge"), Part("safe", 1.0, 1))


UNIT = st.floats(0, 1)
CRITERION = st.tuples(UNIT, st.floats(1e-6, 1e6), st.none() | st.builds(Gate, UNIT, UNIT))


@given(
    st.lists(CRITERION, min_size=1, max_size=8),
    st.sampled_from(["weighted_mean", "geometric", "min"]),
)
def test_the_score_stays_between_zero_and_the_best_part(
    rows: list[tuple[float, float, Gate | None]], aggregation: str
) -> None:
    criteria = [
        Criterion(name=f"c{index}", description="", weight=weight, gate=gate)
        for index, (_, weight, gate) in enumerate(rows)
    ]
    scores = {f"c{index}": row[0] for index, row in enumerate(rows)}
    score, _ = aggregate(Verdict(scores, {}), rubric(*criteria, aggregation=aggregation))
    assert score is not None
    assert 0.0 <= score <= 1.0
    assert score <= max(scores.values()) + 1e-9


@given(UNIT, UNIT, st.floats(1e-3, 1e3))
def test_only_the_ratios_of_weights_matter(good: float, safe: float, factor: float) -> None:
    verdict = Verdict({"good": good, "safe": safe}, {})
    scaled = rubric(*(msgspec.structs.replace(c, weight=c.weight * factor) for c in GATED.criteria))
    assert aggregate(verdict, scaled)[0] == pytest.approx(aggregate(verdict, GATED)[0])
