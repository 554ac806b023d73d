"""The share controller where a level binds nothing: the load or the machine is slower than the level."""

import pytest

from judge_service.flow.share import ShareController

SLICE_S = 0.1


def played(
    *, most_per_s: float, quota_per_s: float, at_random: float
) -> tuple[float, float, float]:
    """Plays a minute at a configured rate of 3,000 calls/s. Returns used, refused after 15 s, and the level.

    most_per_s: calls that the client can send. quota_per_s: what the judge takes.
    """
    controller, now_s = ShareController(), 0.0
    sent_in_all = sent_later = refused_later = 0.0
    for _ in range(600):
        now_s += SLICE_S
        sent = min(controller.level * 3_000, most_per_s) * SLICE_S
        refused = max(sent * at_random, sent - quota_per_s * SLICE_S)
        controller.note(now_s, sent=sent, refused=refused)
        sent_in_all += sent
        if now_s > 15:
            sent_later += sent
            refused_later += refused
    return sent_in_all / (60 * most_per_s), refused_later / sent_later, controller.level


@pytest.mark.parametrize("most_per_s", [1_200, 1_300, 1_600, 2_500, 3_000])
def test_refusals_of_a_rate_that_no_trial_slowed_are_not_taken_for_random(
    most_per_s: float,
) -> None:
    _, refused, level = played(most_per_s=most_per_s, quota_per_s=1_000, at_random=0.0)

    assert refused < 0.04
    assert level == pytest.approx(1 / 3, rel=0.1)


@pytest.mark.parametrize("at_random", [0.02, 0.05, 0.1, 0.2])
def test_random_refusals_of_a_load_below_the_level_cost_what_they_cost(at_random: float) -> None:
    used, _, _ = played(most_per_s=600, quota_per_s=3_000, at_random=at_random)

    assert used > 0.97
