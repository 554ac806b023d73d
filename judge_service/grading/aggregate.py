"""From the scores of criteria to one score."""

import math
from collections.abc import Callable, Mapping, Sequence

from judge_service.grading.rubric.rubric import Aggregation, Rubric
from judge_service.values import Part, Verdict

FLOOR = 0.05
"""What a criterion of 0 counts as in the geometric mean. At 0 itself one bad criterion would hide what
the others say, and nothing could be learned from them."""

Rows = Sequence[tuple[float, float]]
"""(score, weight) of each criterion."""


def aggregate(verdict: Verdict, rubric: Rubric) -> tuple[float | None, tuple[Part, ...]]:
    """The score in [0, 1], and one part per criterion in the rubric's order.

    The rubric's `aggregation` makes one score of all. After that, each criterion with a gate lowers it
    to at most the gate's limit: dimensions add, gates cap, because a mean lets quality buy back safety.

    The score is `None` as soon as one criterion has none: a mean over the rest would reward the
    answers that make a judge give up on their weak side. The first part without a score says why.
    """
    parts = tuple(
        [  # of a list, which costs half of a generator for a single criterion
            Part(
                criterion.name,
                verdict.scores.get(criterion.name),
                criterion.weight,
                verdict.unscorable.get(criterion.name),
                verdict.off_menu.get(criterion.name),
                criterion.kind,
            )
            for criterion in rubric.criteria
        ]
    )
    rows = [(part.score, part.weight) for part in parts if part.score is not None]
    if len(rows) < len(parts):
        return None, parts
    return _gated(REDUCERS[rubric.aggregation](rows), verdict, rubric), parts


def _weighted_mean(rows: Rows) -> float:
    # No guard against 1.0000000000000002: no product is above its weight, and rounding keeps order.
    total = weights = 0.0
    for score, weight in rows:
        total += score * weight
        weights += weight
    return total / weights


def _geometric(rows: Rows) -> float:
    """The weighted geometric mean of the scores moved to [FLOOR, 1], and moved back."""
    span = 1.0 - FLOOR
    logs = sum(weight * math.log(FLOOR + span * score) for score, weight in rows)
    mean = math.exp(logs / sum(weight for _, weight in rows))
    return min(max((mean - FLOOR) / span, 0.0), 1.0)


def _minimum(rows: Rows) -> float:
    return min(score for score, _ in rows)


REDUCERS: Mapping[Aggregation, Callable[[Rows], float]] = {
    "weighted_mean": _weighted_mean,
    "geometric": _geometric,
    "min": _minimum,
}


def _gated(score: float, verdict: Verdict, rubric: Rubric) -> float:
    for criterion in rubric.criteria:
        if criterion.gate is not None:
            score = min(score, criterion.gate.limit(verdict.scores[criterion.name]))
    return score
