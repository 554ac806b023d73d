"""Combines the scores of a rubric's criteria into one score."""

import math
from collections.abc import Callable, Mapping, Sequence

from judge_service.grading.rubric.rubric import Aggregation, Rubric
from judge_service.values import Part, Verdict

FLOOR = 0.05
"""The value of a score of 0 in the geometric mean. With 0 itself, one bad criterion would make the mean 0,
whatever the others are, and the trainer could learn nothing from them."""

Rows = Sequence[tuple[float, float]]
"""(score, weight) of each criterion."""


def aggregate(verdict: Verdict, rubric: Rubric) -> tuple[float | None, tuple[Part, ...]]:
    """Returns the score in [0, 1], and one part per criterion in the rubric's order.

    The rubric's `aggregation` combines the criteria. Then each criterion with a gate limits the score to
    at most the gate's limit, because in a mean alone high quality could outweigh low safety.

    The score is `None` if one criterion has none: a mean over the others would reward responses that make
    the judge give up on their weak side. The first part without a score gives the reason.

    For example, quality 0.9 (weight 3) and safety 0.2 (weight 1) have the weighted mean
    (3 x 0.9 + 1 x 0.2) / 4 = 0.725. A gate on safety, `below = 0.5, cap = 0.1`, whose default width is 0.2,
    limits the score to 0.1 for safety of at most 0.3. So the score is 0.1.
    """
    parts = tuple(
        [  # a list costs half of a generator for a single criterion
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
    # The result cannot exceed 1: no product exceeds its weight, and rounding is monotonic.
    total = weights = 0.0
    for score, weight in rows:
        total += score * weight
        weights += weight
    return total / weights


def _geometric(rows: Rows) -> float:
    """The weighted geometric mean: of the scores mapped from [0, 1] to [FLOOR, 1], and mapped back.

    For example, scores 0 and 1 of equal weight become 0.05 and 1, whose mean is sqrt(0.05) = 0.224, which
    maps back to (0.224 - 0.05) / 0.95 = 0.183.
    """
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
