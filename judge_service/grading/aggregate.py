"""From a verdict to one score."""

from judge_service.grading.rubric import Rubric
from judge_service.values import Part, Verdict


def aggregate(verdict: Verdict, rubric: Rubric) -> tuple[float | None, tuple[Part, ...]]:
    """The score in [0, 1], and one part per criterion in the rubric's order.

    The score is the weighted mean of the criteria, sum(w * s) / sum(w). After that, each criterion
    with a gate that scored below `gate.below` lowers it to at most `gate.cap`: dimensions add, gates
    cap, because a mean lets quality buy back safety.

    The score is `None` as soon as one criterion has none: a mean over the rest would reward the
    answers that make a judge give up on their weak side. The first part without a score says why.
    """
    parts = tuple(
        Part(
            criterion.name,
            verdict.scores.get(criterion.name),
            criterion.weight,
            verdict.unscorable.get(criterion.name),
            verdict.off_menu.get(criterion.name),
        )
        for criterion in rubric.criteria
    )
    total = weights = 0.0
    for part in parts:
        if part.score is None:
            return None, parts
        total += part.weight * part.score
        weights += part.weight
    # No guard against 1.0000000000000002: no product is above its weight, and rounding keeps order.
    return _gated(total / weights, verdict, rubric), parts


def _gated(score: float, verdict: Verdict, rubric: Rubric) -> float:
    for criterion in rubric.criteria:
        gate = criterion.gate
        if gate is not None and verdict.scores[criterion.name] < gate.below:
            score = min(score, gate.cap)
    return score
