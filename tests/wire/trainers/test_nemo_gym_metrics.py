from typing import Any

import pytest

from judge_service.errors import WireError
from judge_service.wire.trainers.nemo_gym_metrics import aggregate_metrics


def reply(task: int, reward: float, **fields: Any) -> dict[str, Any]:
    return {"_ng_task_index": task, "_ng_rollout_index": 0, "reward": reward, **fields}


def test_measures_are_over_tasks_and_over_all() -> None:
    found = aggregate_metrics(
        {"verify_responses": [reply(7, 1.0), reply(3, 0.0), reply(3, 0.5, name="text")]}
    )

    assert [task["_ng_task_index"] for task in found.group_level_metrics] == [3, 7]
    assert found.group_level_metrics[0]["num_rollouts"] == 2
    assert found.group_level_metrics[0]["mean/reward"] == 0.25
    assert found.agent_metrics == {
        "mean/reward": 0.5,
        "max/reward": 1.0,
        "min/reward": 0.0,
        "median/reward": 0.5,
        "std/reward": 0.5,
    }
    assert found.key_metrics == {"mean/reward": 0.5}


def test_masked_rollouts_do_not_count() -> None:
    found = aggregate_metrics(
        {"verify_responses": [reply(0, 1.0), reply(0, 0.0, mask_sample=True)]}
    )

    assert found.key_metrics == {"mean/reward": 1.0}


def test_the_usage_of_the_policy_is_a_measure() -> None:
    usage = {"usage": {"output_tokens": 5, "details": {}}}

    found = aggregate_metrics({"verify_responses": [reply(0, 1.0, response=usage)]})

    assert found.key_metrics["mean/output_tokens"] == 5.0


def test_numbers_beyond_measure_are_left_out() -> None:
    found = aggregate_metrics({"verify_responses": [reply(0, 1.0, a=10**400, b=-1e300)]})

    assert found.key_metrics == {"mean/reward": 1.0}


def test_nothing_gives_nothing() -> None:
    found = aggregate_metrics({"verify_responses": []})

    assert (found.group_level_metrics, found.agent_metrics, found.key_metrics) == ([], {}, {})


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "$.verify_responses"),
        ({"verify_responses": {}}, "$.verify_responses"),
        ({"verify_responses": [1]}, "$.verify_responses[0]"),
        ({"verify_responses": [{"_ng_task_index": "a"}]}, "$.verify_responses[0]._ng_task_index"),
    ],
)
def test_a_wrong_body_is_refused_with_its_place(body: Any, field: str) -> None:
    with pytest.raises(WireError) as refused:
        aggregate_metrics(body)

    assert refused.value.field == field
