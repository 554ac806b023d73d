"""The reply policy: substitutes for rows that were not judged, and failures of batches."""

import math
from typing import Any

import pytest

from judge_service.errors import SettingsError, TooManyUnscored
from judge_service.values import INPUT_REASONS, UNSCORED_REASONS, Part, Reward, Sample
from judge_service.wire import Answer, ReplyPolicy
from judge_service.wire.means import Means
from judge_service.wire.reply_policy import ADVICE


class Clock:
    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def scored(score: float, **parts: float) -> Reward:
    return Reward(score=score, parts=tuple(Part(name, one, 1.0) for name, one in parts.items()))


def failed(reason: str = "throttled", *names: str, detail: str = "") -> Reward:
    parts = tuple(Part(name, None, 1.0, reason) for name in names)
    return Reward(score=None, reason=reason, detail=detail, parts=parts)


def answers(policy: ReplyPolicy, *rows: tuple[str, Reward]) -> list[Answer]:
    samples = [Sample(id=i, group_key=group) for i, (group, _) in enumerate(rows)]
    return policy.answer(samples, [reward for _, reward in rows])


def scores(policy: ReplyPolicy, *rows: tuple[str, Reward]) -> list[float]:
    return [answer.score for answer in answers(policy, *rows)]


def lenient(**more: Any) -> ReplyPolicy:
    return ReplyPolicy(**({"max_fraction": 1.0, "now": Clock()} | more))


def test_a_failed_row_gets_the_mean_of_its_group_so_its_advantage_is_zero() -> None:
    rows = [("a", scored(0.9))] * 3 + [("a", failed()), ("b", scored(0.1))]
    given = scores(ReplyPolicy(), *rows)

    assert given == pytest.approx([0.9, 0.9, 0.9, 0.9, 0.1])
    group = given[:4]
    assert group[3] - sum(group) / 4 == pytest.approx(0.0)


def test_without_scored_rows_the_group_is_remembered() -> None:
    policy = lenient()
    answers(policy, ("a", scored(0.2)), ("a", scored(0.4)), ("b", scored(1.0)))

    assert scores(policy, ("a", failed()), ("c", scored(0.9))) == pytest.approx([0.3, 0.9])


def test_a_group_that_comes_row_by_row_is_remembered_as_a_whole() -> None:
    policy = lenient()
    for score in (0.0, 0.5, 1.0):
        answers(policy, ("a", scored(score)))

    assert scores(policy, ("a", failed())) == [0.5]


def test_a_tenants_substitute_is_never_made_of_another_tenants_scores() -> None:
    policy = lenient()
    policy.answer([Sample(group_key="a")], [scored(0.9)], tenant="one")
    policy.answer([Sample(group_key="b")], [scored(0.3)], tenant="one")

    def substitute(tenant: str, group: str) -> float:
        (answer,) = policy.answer([Sample(group_key=group)], [failed()], tenant=tenant)
        return answer.score

    assert [substitute("one", group) for group in "abc"] == pytest.approx([0.9, 0.3, 0.6])
    assert [substitute("two", group) for group in "abc"] == [0.5, 0.5, 0.5]


def test_the_means_of_tenants_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("judge_service.wire.means.MAX_TENANTS_COLUMNS", 2)
    means = Means(memory_s=60.0, now=Clock())
    for tenant in ("one", "two", "three"):
        means.add("", [("", 0.5)], tenant)

    assert [means.of_process("", tenant) for tenant in ("one", "two", "three")] == [None, 0.5, 0.5]


def test_the_memory_of_a_group_ends_after_memory_s() -> None:
    clock = Clock()
    policy = lenient(memory_s=60.0, now=clock)
    answers(policy, ("a", scored(0.2)))
    clock.seconds += 59.0
    assert scores(policy, ("a", failed()), ("b", scored(0.9)))[0] == 0.2
    clock.seconds += 1.0
    assert scores(policy, ("a", failed()), ("b", scored(0.9)))[0] == 0.9


def test_an_unknown_group_gets_the_mean_of_the_batch_then_of_the_process_then_the_middle() -> None:
    policy = lenient()
    assert scores(policy, ("a", failed())) == [0.5]
    assert scores(policy, ("a", failed()), ("b", scored(0.2)), ("c", scored(0.6)))[0] == 0.4
    answers(policy, ("d", scored(1.0)))
    assert scores(policy, ("a", failed())) == pytest.approx([0.6])


def test_rows_without_a_group_share_no_mean() -> None:
    rows = [("", scored(0.0)), ("", failed()), ("a", scored(1.0))]

    assert scores(lenient(), *rows)[1] == 0.5


def test_each_criterion_is_filled_by_itself() -> None:
    rows = [
        ("a", scored(0.5, x=0.2, y=0.8)),
        ("a", scored(0.7, x=0.4, y=1.0)),
        ("a", failed("throttled", "x", "y")),
        ("a", Reward(score=None, reason="refused", parts=(Part("x", 0.9, 1), Part("y", None, 1)))),
    ]
    *_, third, fourth = answers(lenient(), *rows)

    assert [metric.value for metric in third.metrics] == pytest.approx([0.5, 0.9, 1.0])
    assert [metric.value for metric in fourth.metrics] == pytest.approx([0.9, 0.9, 1.0])
    assert third.score == fourth.score == pytest.approx(0.6)


def test_every_answer_carries_the_same_metrics_in_the_same_order() -> None:
    rows = [("a", failed()), ("a", scored(1.0, y=1.0, x=0.0)), ("b", failed("refused", "x", "y"))]
    named = [[(m.name, m.type) for m in answer.metrics] for answer in answers(lenient(), *rows)]

    assert named == [[("y", "Reward"), ("x", "Reward"), ("unscored", "Metric")]] * 3


def test_an_unscored_answer_says_so_and_why() -> None:
    good, bad = answers(
        lenient(), ("a", scored(1.0)), ("a", failed("refused", detail="by a filter"))
    )

    assert (good.unscored, good.reason, good.metrics[-1].value) == (False, None, 0.0)
    assert (bad.unscored, bad.reason, bad.metrics[-1].value) == (True, "refused", 1.0)
    assert bad.detail == "by a filter"


def test_the_range_on_the_wire_may_begin_at_minus_one() -> None:
    policy = lenient(score_range="-1..1")
    first, second, third = answers(
        policy, ("a", scored(0.0, x=1.0)), ("a", scored(0.5, x=0.75)), ("a", failed())
    )

    assert [first.score, second.score, third.score] == [-1.0, 0.0, -0.5]
    assert [one.metrics[0].value for one in (first, second, third)] == [1.0, 0.5, 0.75]
    assert [one.metrics[1].value for one in (first, second, third)] == [0.0, 0.0, 1.0]
    assert scores(lenient(score_range="-1..1"), ("a", failed())) == [0.0]


def test_a_fixed_value_is_a_value_on_the_wire() -> None:
    policy = lenient(policy="value:-0.25", score_range="-1..1")
    good, bad = answers(policy, ("a", scored(1.0, x=1.0)), ("a", failed("refused", "x")))

    assert (good.score, bad.score, bad.metrics[0].value) == (1.0, -0.25, -0.25)


@pytest.mark.parametrize("policy", ["value:1.1", "value:-0.1", "value:" + "9" * 400])
def test_a_fixed_value_outside_the_wire_range_is_refused(policy: str) -> None:
    with pytest.raises(SettingsError, match=r"unscored\.policy"):
        ReplyPolicy(policy=policy)


def test_above_the_fraction_the_batch_fails_and_says_what_to_do() -> None:
    policy = ReplyPolicy(max_fraction=0.25)
    good = [("a", scored(1.0))] * 4
    assert len(answers(policy, *good[:3], ("a", failed()))) == 4

    bad = [("a", failed("throttled", detail="429 from\n the judge.")), ("a", failed("throttled"))]
    with pytest.raises(TooManyUnscored) as caught:
        answers(policy, *good, *bad, ("b", failed("refused")))
    assert str(caught.value) == (
        "3 of 7 rows could not be judged, more than the 25% of `unscored.max_fraction`; most often"
        " `throttled` (2 times: 429 from the judge); send less at once, or raise the judge's quota"
        " and `limits`"
    )
    assert policy.statistics().refused_batches == 1


def test_rows_that_nobody_could_judge_are_no_failed_judgements() -> None:
    rows = [("", failed("no_response"))] * 8 + [("", failed("no_reference"))] * 2
    for policy in ("group_mean", "fail", "value:0.5"):
        assert scores(ReplyPolicy(policy=policy), *rows) == [0.5] * 10


def test_the_policy_fail_fails_at_the_first_failed_judgement() -> None:
    policy = ReplyPolicy(policy="fail", max_fraction=1.0)
    assert scores(policy, ("a", scored(0.25)), ("a", failed("no_response"))) == [0.25, 0.25]

    with pytest.raises(TooManyUnscored, match="1 of 100 rows"):
        answers(policy, ("a", failed("unavailable")), *[("a", scored(1.0))] * 99)


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1.5, -0.1])
def test_a_score_that_is_no_score_never_leaves(score: float) -> None:
    rows = [("a", scored(score, x=score)), ("a", scored(0.25, x=0.75))]
    bad, _ = answers(lenient(), *rows)

    assert (bad.unscored, bad.reason, bad.score) == (True, "grader_error", 0.25)
    assert bad.metrics[0].value == 0.75
    assert scores(lenient(), rows[0]) == [0.5]  # and it did not spoil the mean


def test_rounding_is_no_error() -> None:
    assert scores(ReplyPolicy(), ("a", scored(1.0 + 1e-12)), ("a", scored(-1e-12))) == [1.0, 0.0]


def test_a_missing_score_without_a_reason_is_the_graders_error() -> None:
    assert answers(lenient(), ("a", Reward(score=None)))[0].reason == "grader_error"


def test_ids_come_back_in_order_and_an_empty_batch_is_empty() -> None:
    samples = [Sample(id=id_) for id_ in (1, True, "1", 1, None)]
    given = ReplyPolicy().answer(samples, [scored(1.0)] * 5)

    assert [(type(one.id), one.id) for one in given] == [(type(s.id), s.id) for s in samples]
    assert ReplyPolicy().answer([], []) == []
    assert ReplyPolicy(policy="fail").answer([], []) == []


def test_a_reward_too_few_is_an_error_and_not_a_shorter_reply() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ReplyPolicy().answer([Sample(), Sample()], [scored(1.0)])


def test_there_is_advice_for_every_failure() -> None:
    assert ADVICE.keys() == UNSCORED_REASONS.keys() - INPUT_REASONS


def test_the_door_counts() -> None:
    policy = lenient()
    answers(policy, ("a", scored(1.0, x=1.0)), ("b", failed()), ("", scored(0.0, x=0.0)))

    counted = policy.statistics()
    assert (counted.answered, counted.substituted, counted.remembered) == (3, 1, 2)
    assert repr(policy) == f"<ReplyPolicy group_mean 0..1, {counted}>"


def test_the_memory_is_bounded_and_the_longest_unused_goes_first() -> None:
    means = Means(memory_s=60.0, now=Clock(), max_remembered=2)
    for group in ("a", "b", "a", "c"):
        means.add("", [(group, 1.0)])

    assert len(means) == 2
    assert [means.of_group(group, "") for group in ("a", "b", "c")] == [1.0, None, 1.0]
    assert means.of_process("") == 1.0
    assert repr(means) == "<Means 2 of 2 remembered, 60 s>"


def test_a_group_that_was_forgotten_begins_anew() -> None:
    clock = Clock()
    means = Means(memory_s=60.0, now=clock)
    means.add("", [("a", 0.0)])
    clock.seconds += 60.0
    means.add("", [("a", 1.0)])

    assert means.of_group("a", "") == 1.0
    assert means.of_process("") == 0.5


def test_without_memory_nothing_is_kept() -> None:
    means = Means(memory_s=0.0, now=Clock())
    means.add("", [("a", 1.0)])

    assert len(means) == 0
    assert means.of_group("a", "") is None


# Rows that the deadline cut off


def late_scores(policy: ReplyPolicy, late: Any, *rewards: Reward) -> list[float]:
    samples = [Sample(id=i, group_key="a") for i, _ in enumerate(rewards)]
    return [answer.score for answer in policy.answer(samples, rewards, late)]


CUT_OFF = failed("deadline")


def test_cut_off_rows_are_answered_however_many_they_are_if_the_caller_wants_it() -> None:
    rows = [scored(0.8), *[CUT_OFF] * 9]

    assert late_scores(ReplyPolicy(), "answer", *rows) == pytest.approx([0.8] * 10)
    with pytest.raises(TooManyUnscored, match=r"9 of 10 .* `deadline`"):
        late_scores(ReplyPolicy(), "count", *rows)


def test_where_nothing_was_judged_there_is_nothing_to_answer() -> None:
    with pytest.raises(TooManyUnscored, match="10 of 10"):
        late_scores(ReplyPolicy(), "answer", *[CUT_OFF] * 10)


def test_cut_off_rows_do_not_hide_failed_judgements() -> None:
    rows = [scored(0.8), *[CUT_OFF] * 2, *[failed("unavailable")] * 7]

    with pytest.raises(TooManyUnscored, match=r"7 of 10 .* `unavailable`"):
        late_scores(ReplyPolicy(), "answer", *rows)


def test_one_cut_off_row_fails_the_batch_if_the_caller_wants_it() -> None:
    with pytest.raises(TooManyUnscored, match=r"1 of 10 .* `deadline`"):
        late_scores(lenient(), "fail", *[scored(0.8)] * 9, CUT_OFF)

    assert late_scores(lenient(), "fail", scored(0.8), failed()) == [0.8, 0.8]


def test_under_the_policy_fail_there_is_no_answer_for_a_cut_off_row() -> None:
    with pytest.raises(TooManyUnscored):
        late_scores(ReplyPolicy(policy="fail"), "answer", *[scored(0.8)] * 9, CUT_OFF)


def test_means_that_are_too_old_to_be_used_take_no_room() -> None:
    clock = Clock()
    means = Means(memory_s=60.0, now=clock)
    for number in range(1000):
        means.add("", [(f"group {number}", 0.5)])
        clock.seconds += 1.0

    assert len(means) == 60
