"""Describes a rubric in sentences, for its author."""

from collections.abc import Iterator

from judge_service.grading.rubric.panel import panels
from judge_service.grading.rubric.rubric import Rubric
from judge_service.grading.shaping import LengthShaping
from judge_service.values import Criterion, Gate

MANY_CRITERIA = 5
"""Criteria in one judge call above which the author gets a warning: judges blur more into one impression."""


def describe(rubric: Rubric) -> list[str]:
    """One line for each criterion, and one for each rule that applies to the whole reward."""
    total = sum(criterion.weight for criterion in rubric.criteria)
    width = max((len(criterion.name) for criterion in rubric.criteria), default=0)
    lines = []
    for criterion in rubric.criteria:
        share = (
            "" if rubric.aggregation == "min" else f", {criterion.weight / total:.0%} of the score"
        )
        gate = f"; {_gate(criterion.gate)}" if criterion.gate else ""
        lines.append(f"{criterion.name:<{width}}  {_who(criterion)}{share}{gate}")
    return [*lines, *_rules(rubric)]


def _who(criterion: Criterion) -> str:
    if criterion.kind == "verify":
        return f"verified by `{criterion.verify}`"
    levels = f", {len(criterion.levels)} levels" if criterion.levels else ""
    reference = ", needs a reference" if criterion.needs_reference else ""
    return f"judged from {criterion.minimum:g} to {criterion.maximum:g}{levels}{reference}"


def _gate(gate: Gate) -> str:
    start = gate.below - min(gate.width, gate.below)
    if start == gate.below:
        return f"below {gate.below:g} the whole reward is at most {gate.cap:g}"
    return (
        f"from {gate.below:g} down to {start:g} the limit of the whole reward falls"
        f" from 1 to {gate.cap:g}"
    )


def _rules(rubric: Rubric) -> Iterator[str]:
    yield {
        "weighted_mean": "the score is the weighted mean of the criteria",
        "geometric": "the score is the geometric mean of the criteria: each of them must be good",
        "min": "the score is that of the worst criterion",
    }[rubric.aggregation]
    if rubric.compare == "group":
        yield "responses to one prompt are judged side by side"
    length, repetition = rubric.shaping.length, rubric.shaping.repetition
    if length is not None:
        yield f"a response {_outside(length)} characters loses up to {length.weight:.0%}"
    if repetition is not None:
        yield f"a response that repeats itself loses up to {repetition.weight:.0%}"
    if rubric.output is not None:
        yield f"rewards are sent in the range {rubric.output}"


def _outside(length: LengthShaping) -> str:
    if length.max_chars is None:
        return f"under {length.min_chars:,}"
    if length.min_chars == 0:
        return f"over {length.max_chars:,}"
    return f"under {length.min_chars:,} or over {length.max_chars:,}"


def advise(rubric: Rubric) -> list[str]:
    """Advice for a better rubric (docs/rubrics.md gives the reasons)."""
    return [*_advice(rubric)]


def _advice(rubric: Rubric) -> Iterator[str]:
    for panel in panels(rubric):
        if len(panel.criteria) > MANY_CRITERIA:
            count = len(panel.criteria)
            yield f"{count} criteria share one judge call; above {MANY_CRITERIA} judges blur them"
    for criterion in rubric.criteria:
        if criterion.kind == "judge" and not criterion.levels:
            yield f"{criterion.name}: judges agree more on a few described levels than on a bare scale"
    if rubric.aggregation == "min":
        yield "with `min` a trainer learns only from the worst criterion, with `geometric` from all"
