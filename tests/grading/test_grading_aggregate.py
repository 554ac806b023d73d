import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.grading import Rubric, aggregate
from judge_service.values import Criterion, Gate, Part, Verdict


def rubric(*criteria: Criterion) -> Rubric:
    return Rubric(name="test", version="", criteria=criteria, system="", user="")


GATED = rubric(
    Criterion(name="good", description="", weight=3),
    Criterion(name="safe", description="", weight=1, gate=Gate(0.5, 0.1)),
)


@pytest.mark.parametrize(
    ("good", "safe", "score"),
    [(1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (0.5, 1.0, 0.625), (1.0, 0.5, 0.875), (1.0, 0.49, 0.1)],
)
def test_the_score_is_the_weighted_mean_capped_by_gates(
    good: float, safe: float, score: float
) -> None:
    assert aggregate(Verdict({"good": good, "safe": safe}, {}), GATED)[0] == pytest.approx(score)


def test_a_gate_never_raises_a_score() -> None:
    assert aggregate(Verdict({"good": 0.0, "safe": 0.1}, {}), GATED)[0] == pytest.approx(0.025)


def test_one_unscorable_criterion_leaves_no_score_but_all_parts() -> None:
    score, parts = aggregate(Verdict({"safe": 1.0}, {"good": "cannot_judge"}), GATED)
    assert score is None
    assert parts == (Part("good", None, 3, "cannot_judge"), Part("safe", 1.0, 1))


UNIT = st.floats(0, 1)
CRITERION = st.tuples(UNIT, st.floats(1e-6, 1e6), st.none() | st.builds(Gate, UNIT, UNIT))


@given(st.lists(CRITERION, min_size=1, max_size=8))
def test_the_score_stays_between_zero_and_the_best_part(
    rows: list[tuple[float, float, Gate | None]],
) -> None:
    criteria = [
        Criterion(name=f"c{index}", description="", weight=weight, gate=gate)
        for index, (_, weight, gate) in enumerate(rows)
    ]
    scores = {f"c{index}": row[0] for index, row in enumerate(rows)}
    score, _ = aggregate(Verdict(scores, {}), rubric(*criteria))
    assert score is not None
    assert 0.0 <= score <= 1.0
    assert score <= max(scores.values()) + 1e-9


@given(UNIT, UNIT, st.floats(1e-3, 1e3))
def test_only_the_ratios_of_weights_matter(good: float, safe: float, factor: float) -> None:
    verdict = Verdict({"good": good, "safe": safe}, {})
    scaled = rubric(*(msgspec.structs.replace(c, weight=c.weight * factor) for c in GATED.criteria))
    assert aggregate(verdict, scaled)[0] == pytest.approx(aggregate(verdict, GATED)[0])
