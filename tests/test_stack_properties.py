"""Properties of the assembled service in random worlds, measured by the calls sent to the judge.

STACK_SEED=123 pytest tests/test_stack_properties.py     one world again
STACK_SEEDS=2000 pytest tests/test_stack_properties.py   many worlds
"""

import os

import pytest

from judge_service.testing import run_virtual
from tests.flow.gates import assert_nothing_held
from tests.stack_world import ENDS_WITHIN_S, Outcome, World, draw_world, play, score_of, text_of

SEEDS = (
    [int(os.environ["STACK_SEED"])]
    if "STACK_SEED" in os.environ
    else range(int(os.environ.get("STACK_SEEDS", "40")))
)


@pytest.mark.parametrize("seed", SEEDS)
def test_in_any_world_the_quota_is_kept_and_nothing_is_lost_or_held(seed: int) -> None:
    world = draw_world(seed)
    try:
        outcome = run_virtual(play(world), timeout_s=ENDS_WITHIN_S)
        assert_kept(world, outcome)
    except BaseException as problem:
        problem.add_note(f"again: STACK_SEED={seed} pytest {__file__}; {world}")
        raise


def assert_kept(world: World, outcome: Outcome) -> None:
    judge, limits = outcome.judge, world.settings["limits"]
    if quota := limits.get("requests_per_minute"):
        assert judge.most_in_60_s("requests") <= 1.01 * quota + 1
    if quota := limits.get("tokens_per_minute"):
        assert judge.most_in_60_s("tokens") <= 1.01 * quota + judge.largest
    assert judge.most_inside <= limits["max_in_flight"]
    assert judge.sent_to_open_breaker == 0
    assert judge.excess_probes == 0
    for job, rewards in zip(world.jobs, outcome.rewards, strict=True):
        if rewards is None:
            assert job.cancel_after_s is not None
            continue
        assert len(rewards) == job.samples
        for number, reward in enumerate(rewards):
            assert reward.reason != "grader_error"
            expected = pytest.approx(score_of(text_of(job, number)))  # of a vote it is a mean
            assert reward.score is None or reward.score == expected
    assert_nothing_held(outcome.gate)
    assert outcome.tasks_left == 0
