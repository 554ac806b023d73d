"""NeMo-Gym's aggregate metrics: means and spreads of the numbers in many replies of `/verify`."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from math import fsum, sqrt
from statistics import median
from typing import Any

from msgspec import Struct

from judge_service.errors import WireError
from judge_service.wire.content import name_of

TASK = "_ng_task_index"
ROLLOUT = "_ng_rollout_index"
LABELS = frozenset({TASK, ROLLOUT, "mask_sample"})
"""Numbers that are not measurements."""

LARGEST = 1e100
"""Largest measurement; the square of a larger number would not fit a float."""


class AggregateMetrics(Struct, frozen=True, kw_only=True):
    """Flat names, for the dashboards that NeMo-Gym writes to: `mean/reward`, `max/judge_style`.

    group_level_metrics: one per task, ascending, with its index and `num_rollouts`.
    agent_metrics: over all rollouts. key_metrics: the means of these.
    """

    group_level_metrics: list[dict[str, Any]]
    agent_metrics: dict[str, float]
    key_metrics: dict[str, float]


def aggregate_metrics(body: Any) -> AggregateMetrics:
    """Reads `{"verify_responses": [...]}` and computes the metrics; masked rollouts do not count.

    Raises WireError, and nothing else.
    """
    found = body.get("verify_responses") if isinstance(body, dict) else None
    if not isinstance(found, list):
        raise WireError("$.verify_responses", f"must be a list, not {name_of(found)}")
    tasks: defaultdict[int, list[dict[str, float]]] = defaultdict(list)
    for place, reply in enumerate(found):
        if not isinstance(reply, dict):
            path = f"$.verify_responses[{place}]"
            raise WireError(path, f"must be an object, not {name_of(reply)}")
        if not reply.get("mask_sample"):
            tasks[_task_of(reply, place)].append(_numbers(reply))
    overall = _describe([row for rows in tasks.values() for row in rows])
    return AggregateMetrics(
        group_level_metrics=[
            {TASK: task, "num_rollouts": len(tasks[task]), **_describe(tasks[task])}
            for task in sorted(tasks)
        ],
        agent_metrics=overall,
        key_metrics={name: value for name, value in overall.items() if name.startswith("mean/")},
    )


def _task_of(reply: Mapping[str, Any], place: int) -> int:
    task = reply.get(TASK, 0)
    if not isinstance(task, int):
        raise WireError(
            f"$.verify_responses[{place}].{TASK}", f"must be a whole number, not {name_of(task)}"
        )
    return task


def _numbers(reply: Mapping[str, Any]) -> dict[str, float]:
    response = reply.get("response")
    usage = response.get("usage") if isinstance(response, dict) else None
    fields = {**reply, **usage} if isinstance(usage, dict) else reply
    return {
        name: float(value)
        for name, value in fields.items()
        if isinstance(value, int | float) and abs(value) <= LARGEST and name not in LABELS
    }


def _describe(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    columns: defaultdict[str, list[float]] = defaultdict(list)
    for row in rows:
        for name, value in row.items():
            columns[name].append(value)
    return {
        f"{measure}/{name}": value
        for name, values in columns.items()
        for measure, value in _measures(values).items()
    }


def _measures(values: Sequence[float]) -> dict[str, float]:
    mean = fsum(values) / len(values)
    spread = fsum((value - mean) ** 2 for value in values)
    return {
        "mean": mean,
        "max": max(values),
        "min": min(values),
        "median": median(values),
        "std": sqrt(spread / max(1, len(values) - 1)),
    }
