"""Responses of a group judged side by side, in virtual time, with a judge whose answers a test chooses."""

import asyncio
import itertools
import json
import re
from collections.abc import Sequence
from typing import Any

import pytest

from judge_service import Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.flow import Request
from judge_service.grading import GroupGrader, Rubric, relative
from judge_service.testing import run_virtual
from judge_service.values import (
    Criterion,
    Gate,
    Message,
    Prompt,
    Ranking,
    Reward,
    Sample,
    Verdict,
)

RUBRIC = """
name = "side_by_side"
compare = "group"
[[criteria]]
name = "good"
description = "Is it good?"
"""
LABEL = re.compile(r"<item (\w+) \w+>\n<response \w+>\n\w+ (0\.\d+)")


def say(prompt: Prompt) -> str:
    """Each response says itself what it gets."""
    found = LABEL.findall(prompt.messages[1].content)
    if not found:
        return json.dumps({"good": float(prompt.question.response.split()[1])})
    entries = [{"ID": label, "good": float(number)} for label, number in found]
    return json.dumps({"verdicts": entries})


def sample(score: float, *, group: str = "g", task: str = "Write!") -> Sample:
    ask = (Message("user", task),)
    return Sample(id=score, messages=ask, response=f"worth {score}", group_key=group)


def score_all(
    samples: Sequence[Sample], judge: Scripted | None = None, **environ: Any
) -> list[Reward]:
    async def scenario() -> list[Reward]:
        settings = Settings(rubric=RUBRIC, **environ)
        async with open_service(settings, environ={}, model=judge or Scripted(say)) as service:
            return await service.score(samples)

    return run_virtual(scenario())


def test_responses_of_a_group_in_a_batch_are_judged_in_one_call_for_each_order() -> None:
    judge = Scripted(say)
    rewards = score_all([sample(0.2), sample(0.8), sample(0.5)], judge)
    assert [reward.score for reward in rewards] == pytest.approx([0.1, 0.9, 0.5])
    assert len(judge.prompts) == 2


def test_scores_that_the_judge_crowds_together_are_spread() -> None:
    crowded = [0.90, 0.91, 0.92, 0.93]
    rewards = score_all([sample(score) for score in crowded])
    scores = [reward.score for reward in rewards if reward.score is not None]
    assert scores == sorted(scores)
    assert min(b - a for a, b in itertools.pairwise(scores)) > 0.15


def test_a_group_of_bad_responses_stays_low() -> None:
    scores = [reward.score for reward in score_all([sample(0.0), sample(0.1)])]
    assert scores == pytest.approx([0.0, 0.55])


def test_interleaved_groups_meet_their_own() -> None:
    judge = Scripted(say)
    samples = [sample(n / 10, group=g) for n in range(4) for g in ("a", "b", "c")]
    rewards = score_all(samples, judge)
    assert [reward.score for reward in rewards[:3]] == pytest.approx([0.0] * 3)
    assert len(judge.prompts) == 2  # equal groups are equal questions: one call for each order


@pytest.mark.parametrize(
    "samples",
    [
        [sample(0.3), sample(0.6, group="h")],
        [sample(0.3, group=""), sample(0.6, group="")],
        [sample(0.3), sample(0.6, task="Sing!")],
    ],
    ids=["each by himself", "no group", "another prompt under the same key"],
)
def test_who_is_alone_in_a_group_is_scored_alone(samples: list[Sample]) -> None:
    judge = Scripted(say)
    assert [reward.score for reward in score_all(samples, judge)] == [0.3, 0.6]
    assert len(judge.prompts) == 2


def test_of_more_than_sixteen_each_sixteen_are_a_group() -> None:
    judge = Scripted(say)
    rewards = score_all([sample(n / 100) for n in range(20)], judge)
    assert all(reward.score is not None for reward in rewards)
    sizes = sorted(len(LABEL.findall(p.messages[1].content)) for p in judge.prompts)
    assert sizes == [4, 4, 16, 16]


def test_a_group_meets_though_the_window_is_small() -> None:
    async def scenario() -> list[Any]:
        judge = Scripted(say)
        async with open_service(Settings(rubric=RUBRIC), environ={}, model=judge) as service:
            jobs = [(n, sample(n / 10)) for n in range(6)]
            found = [reward async for _, reward in service.stream(jobs, window=1)]
        return [found, judge.prompts]

    rewards, prompts = run_virtual(scenario())
    assert len(rewards) == 6
    assert len(prompts) == 2


def test_an_empty_response_scores_0_and_is_not_compared() -> None:
    empty = Sample(response=" ", messages=(Message("user", "Write!"),), group_key="g")
    rewards = score_all([sample(0.2), empty, sample(0.8)])
    assert [reward.score for reward in rewards] == pytest.approx([0.1, 0.0, 0.9])


def test_the_embedded_judge_scores_each_alone() -> None:
    rubric = RUBRIC + "needs_reference = true\n"

    async def scenario() -> list[Reward]:
        async with open_service(Settings(rubric=rubric), environ={}) as service:
            return await service.score(
                [Sample(response="Paris", reference="Paris", group_key="g")] * 2
            )

    assert [reward.score for reward in asyncio.run(scenario())] == [1.0, 1.0]


def test_a_gate_sees_what_the_judge_gave_and_not_who_was_better() -> None:
    rubric = Rubric(
        name="t",
        version="",
        system="",
        user="",
        criteria=(
            Criterion(name="good", description=""),
            Criterion(name="safe", description="", gate=Gate(0.5)),
        ),
    )
    whole = [
        {
            b"a": Verdict({"good": 0.5, "safe": 1.0}, {}),
            b"b": Verdict({"good": 0.5, "safe": 1.0}, {}),
        }
    ]
    assert relative(whole, b"a", rubric).scores == {"good": 0.5, "safe": 1.0}


class FakeRanker:
    """Waits, then does what it is told."""

    def __init__(self, outcome: Any = None) -> None:
        self.outcome = outcome
        self.ended = 0

    async def __call__(self, _request: Request[Any]) -> Any:
        try:
            await asyncio.sleep(10)
        finally:
            self.ended += 1
        raise self.outcome


@pytest.fixture
def make_group_grader(make_grader: Any, judge: Any) -> Any:
    def make(ranker: Any) -> GroupGrader:
        grader = make_grader(judge("0.8"))
        return GroupGrader(grader, ranker=ranker, alone=grader)

    return make


TWO = [Sample(response=text, reference="Paris", group_key="g") for text in ("one", "two")]


def test_a_comparison_that_breaks_is_a_grader_error_for_all(make_group_grader: Any) -> None:
    async def scenario() -> list[Reward]:
        group_grader = make_group_grader(FakeRanker(RuntimeError("broken")))
        return await asyncio.gather(*(group_grader(Request(one)) for one in TWO))

    rewards = run_virtual(scenario())
    assert [(reward.score, reward.reason) for reward in rewards] == [(None, "grader_error")] * 2


def test_the_comparison_ends_with_the_last_who_waits_for_it(make_group_grader: Any) -> None:
    ranker = FakeRanker()

    async def scenario() -> list[int]:
        group_grader = make_group_grader(ranker)
        tasks = [asyncio.create_task(group_grader(Request(one))) for one in TWO]
        await asyncio.sleep(1)
        ended = []
        for task in tasks:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            ended.append(ranker.ended)
        assert group_grader.statistics().waiting == 0
        return ended

    assert run_virtual(scenario()) == [0, 1]


class DeadlineRanker:
    """Gives up at the deadline, as the real one does, and remembers its requests."""

    def __init__(self) -> None:
        self.requests: list[Request[Any]] = []

    async def __call__(self, request: Request[Any]) -> Ranking:
        self.requests.append(request)
        late = Reward(score=None, reason="deadline")
        return Ranking(
            rewards=(late,) * len(request.body), ranks=(None,) * len(request.body), compared=True
        )


def grade_with_deadlines(
    make_group_grader: Any, *deadlines: float
) -> tuple[list[Reward], DeadlineRanker]:
    ranker = DeadlineRanker()

    async def scenario() -> list[Reward]:
        group_grader = make_group_grader(ranker)
        samples = [
            Sample(response=f"answer {n}", reference="Paris", group_key="g")
            for n in range(len(deadlines))
        ]
        requests = [
            Request(one, deadline=deadline)
            for one, deadline in zip(samples, deadlines, strict=True)
        ]
        return await asyncio.gather(*(group_grader(request) for request in requests))

    return run_virtual(scenario()), ranker


def test_who_has_time_left_when_the_group_has_none_is_scored_alone(make_group_grader: Any) -> None:
    rewards, ranker = grade_with_deadlines(make_group_grader, 5.0, 5.0, 90.0)
    assert [(reward.score, reward.reason) for reward in rewards] == [
        (None, "deadline"),
        (None, "deadline"),
        (0.8, None),
    ]
    assert [request.deadline for request in ranker.requests] == [5.0]


def test_an_earlier_deadline_takes_no_time_from_those_who_came_before(
    make_group_grader: Any,
) -> None:
    _, ranker = grade_with_deadlines(make_group_grader, 90.0, 90.0, 5.0, 5.0)
    assert [request.deadline for request in ranker.requests] == [90.0, 5.0]
    assert [len(request.body) for request in ranker.requests] == [2, 2]


def test_who_leaves_before_the_group_is_sent_is_not_in_it(make_group_grader: Any) -> None:
    async def scenario() -> Any:
        group_grader = make_group_grader(FakeRanker())
        first, second = (asyncio.create_task(group_grader(Request(one))) for one in TWO)
        await asyncio.sleep(0)
        first.cancel()
        return (await second).score, group_grader.statistics()

    score, statistics = run_virtual(scenario())
    assert score == 0.8
    assert (statistics.groups, statistics.alone) == (0, 1)


def test_a_group_that_all_have_left_is_forgotten(make_group_grader: Any) -> None:
    async def scenario() -> Any:
        group_grader = make_group_grader(FakeRanker())
        task = asyncio.create_task(group_grader(Request(TWO[0])))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.sleep(1)
        return group_grader.statistics(), group_grader._open

    statistics, left = run_virtual(scenario())
    assert (statistics.groups, statistics.alone, left) == (0, 0, {})
