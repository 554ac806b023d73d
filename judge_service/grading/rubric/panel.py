"""Divides the judged criteria of a rubric into panels: criteria that share a judge call."""

from collections.abc import Hashable

from msgspec.structs import replace

from judge_service.grading.rubric.rubric import Rubric, with_version
from judge_service.values import Criterion


def panels(rubric: Rubric) -> tuple[Rubric, ...]:
    """The panels: as few judge calls as the criteria's templates, models and reasoning allow.

    Each panel is a rubric with some of the criteria, so a grader needs nothing else. A rubric that needs
    one judge call and nothing more is its own panel. A rubric that only programs check has none.
    """
    groups: dict[Hashable, list[Criterion]] = {}
    for criterion in rubric.criteria:
        if criterion.kind == "judge":
            key = (criterion.system, criterion.user, criterion.model, criterion.reasoning)
            groups.setdefault(key, []).append(criterion)
    return tuple(_panel(rubric, criteria) for criteria in groups.values())


def is_plain(rubric: Rubric) -> bool:
    """Whether one judge call gives the whole reward: at most one panel, no verifier, no shaping."""
    shaped = rubric.shaping.length or rubric.shaping.repetition
    return not shaped and panels(rubric) in ((), (rubric,)) and not _is_verified(rubric)


def _is_verified(rubric: Rubric) -> bool:
    return any(criterion.kind == "verify" for criterion in rubric.criteria)


def _panel(rubric: Rubric, criteria: list[Criterion]) -> Rubric:
    own = criteria[0]
    if tuple(criteria) == rubric.criteria and own == replace(
        own, system=None, user=None, model=None, reasoning=None
    ):
        return rubric
    bare = [replace(one, system=None, user=None, model=None, reasoning=None) for one in criteria]
    panel = replace(
        rubric,
        criteria=tuple(bare),
        system=own.system or rubric.system,
        user=own.user or rubric.user,
        model=own.model or rubric.model,
        reasoning=own.reasoning or rubric.reasoning,
    )
    return with_version(panel)
