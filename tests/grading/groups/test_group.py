"""Responses of a group judged side by side, in virtual time, with a judge whose answers a test chooses."""

import asyncio
import json
import random
import re
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from judge_service import Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied
from judge_service.flow import Request
from judge_service.grading import GroupGrader
from judge_service.http.failures import too_long
from judge_service.testing import run_virtual
from judge_service.values import Message, Prompt, Ranking, Reward, Sample

RUBRIC = """
name = "side_by_side"
compare = "group"
[[criteria]]
name = "good"
description = "Is it good?"
"""
LABEL = re.compile(r"<item (\w+) \w+>\n<response \w+>\n\w+ (0\.\d+)")


def say(prompt: Prompt, always: str = "") -> str:
    """Each response says itself what it gets, unless all get the same."""
    found = LABEL.findall(prompt.messages[1].content)
    if not found:
        return json.dumps({"good": float(always or prompt.question.response.split()[1])})
    entries = [{"ID": label, "good": float(always or number)} for label, number in found]
    return json.dumps({"verdicts": entries})


def sample(score: float, *, group: str = "g", task: str = "Write!") -> Sample:
    ask = (Message("user", task),)
    return Sample(id=score, messages=ask, response=f"worth {score}", group_key=group)


def score_all(
    samples: Sequence[Sample], judge: Scripted | None = None, **environ: Any
) -> list[Reward]:
    async def scenario() -> list[Reward]:
        settings = Settings(**{"rubric": RUBRIC} | environ)
        async with open_service(settings, environ={}, model=judge or Scripted(say)) as service:
            return await service.score(samples)

    return run_virtual(scenario())


def score_late(samples: Sequence[Sample], delays: Sequence[float], judge: Scripted) -> list[Reward]:
    """The rewards of samples that come each in a request of its own, so long after the start."""

    async def scenario() -> list[Reward]:
        async with open_service(Settings(rubric=RUBRIC), environ={}, model=judge) as service:

            async def score(one: Sample, delay_s: float) -> Reward:
                await asyncio.sleep(delay_s)
                [reward] = await service.score([one])
                return reward

            pairs = zip(samples, delays, strict=True)
            return await asyncio.gather(*(score(one, delay_s) for one, delay_s in pairs))

    return run_virtual(scenario())


def test_responses_of_a_group_in_a_batch_are_judged_in_one_call_for_each_order() -> None:
    judge = Scripted(say)
    rewards = score_all([sample(0.2), sample(0.8), sample(0.5)], judge)
    assert [reward.score for reward in rewards] == pytest.approx([0.2, 0.8, 0.5])
    assert [reward.detail for reward in rewards] == [""] * 3
    assert len(judge.prompts) == 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data(), size=st.integers(1, 40))
def test_the_reward_of_an_answer_depends_neither_on_how_many_come_with_it_nor_on_when(
    data: st.DataObject, size: int
) -> None:
    """Also a lone one, a late one, one of 17, and one that says what another says."""
    worth = data.draw(st.lists(st.integers(0, 99), min_size=size, max_size=size))
    delays = data.draw(
        st.lists(st.sampled_from((0.0, 0.03, 0.06, 2.0)), min_size=size, max_size=size)
    )
    samples = [sample(number / 100) for number in worth]
    judge = Scripted(say, latency_s=0.5)

    rewards = score_late(samples, delays, judge)

    assert [reward.score for reward in rewards] == pytest.approx([one / 100 for one in worth])
    calls = sum(reward.usage.calls for reward in rewards)
    assert calls == len(judge.prompts)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(size=st.integers(1, 40), seed=st.randoms(use_true_random=False))
def test_a_judge_that_gives_everybody_the_same_rewards_everybody_alike(
    size: int, seed: random.Random
) -> None:
    samples = [sample(number / 100) for number in range(size)]
    seed.shuffle(samples)
    delays = [seed.choice((0.0, 0.0, 0.06)) for _ in samples]
    rewards = score_late(samples, delays, Scripted(lambda prompt: say(prompt, "0.9")))
    assert [reward.score for reward in rewards] == [0.9] * size


@pytest.mark.parametrize("size", range(2, 41))
def test_a_group_is_judged_in_parts_of_equal_size_and_none_is_alone(size: int) -> None:
    judge = Scripted(say)
    rewards = score_all([sample(number / 100) for number in range(size)], judge)
    sizes = sorted((len(LABEL.findall(p.messages[1].content)) for p in judge.prompts), reverse=True)
    parts = -(-size // 16)
    assert len(sizes) == 2 * parts  # a call for each order
    assert sum(sizes) == 2 * size
    assert sizes[0] - sizes[-1] <= 1
    assert sizes[-1] > 1
    told = {reward.detail for reward in rewards}
    said = f"{size} responses to this prompt were judged in {parts} parts, of "
    one_by_one = ", ".join(map(str, sizes[::2]))
    assert told == ({said + one_by_one} if parts > 1 else {""})


def test_seventeen_are_nine_and_eight_whatever_the_order_they_come_in() -> None:
    samples = [sample(number / 100) for number in range(17)]
    seen = []
    for order in (samples, samples[::-1]):
        judge = Scripted(say)
        score_all(order, judge)
        seen.append(
            {frozenset(n for _, n in LABEL.findall(p.messages[1].content)) for p in judge.prompts}
        )
    assert sorted(map(len, seen[0])) == [8, 9]
    assert seen[0] == seen[1]


def test_a_rubric_of_judges_and_verifiers_says_it_too() -> None:
    verified = '[[criteria]]\nkind = "verify"\nname = "right"\nverify = "exact"\n'
    samples = [replace(sample(number / 100), reference="worth 0.03") for number in range(17)]
    rewards = score_all(samples, rubric=RUBRIC + verified)
    assert {reward.detail for reward in rewards} == {
        "17 responses to this prompt were judged in 2 parts, of 9, 8"
    }


def test_equal_answers_are_one_response_and_share_its_cost() -> None:
    judge = Scripted(say)
    rewards = score_all([sample(0.4)] * 20 + [sample(0.6)], judge)
    assert [reward.score for reward in rewards] == pytest.approx([0.4] * 20 + [0.6])
    assert len(judge.prompts) == 2
    assert sum(reward.usage.calls for reward in rewards) == 2


@pytest.mark.parametrize(("most", "parts"), [(4, [8, 4, 4]), (1, [8, 4, 4, 2, 2, 2, 2])])
def test_a_group_that_is_too_long_for_the_judge_is_halved(most: int, parts: list[int]) -> None:
    def short(prompt: Prompt) -> Any:
        asked = len(LABEL.findall(prompt.messages[1].content))
        return too_long("4096 tokens at most") if asked > most else say(prompt)

    judge = Scripted(short)
    rewards = score_all([sample(number / 10) for number in range(8)], judge)
    assert [reward.score for reward in rewards] == pytest.approx([n / 10 for n in range(8)])
    sizes = [len(LABEL.findall(p.messages[1].content)) for p in judge.prompts]
    assert sorted(sizes, reverse=True)[::2][: len(parts)] == parts
    assert all("were judged in" in reward.detail for reward in rewards)


def test_of_a_denied_group_each_is_asked_alone_since_one_text_may_be_the_reason() -> None:
    def strict(prompt: Prompt) -> Any:
        return Denied("no") if "worth 0.3" in prompt.messages[1].content else say(prompt)

    rewards = score_all([sample(number / 10) for number in range(5)], Scripted(strict))
    assert [reward.score for reward in rewards] == [0.0, 0.1, 0.2, None, 0.4]
    assert rewards[3].reason == "denied"


def test_a_group_whose_members_never_stop_coming_is_judged_all_the_same() -> None:
    samples = [sample(number / 100) for number in range(40)]
    judge = Scripted(say)
    rewards = score_late(samples, [0.04 * n for n in range(40)], judge)
    assert [reward.score for reward in rewards] == pytest.approx([n / 100 for n in range(40)])
    sizes = [len(LABEL.findall(p.messages[1].content)) for p in judge.prompts]
    assert sum(sizes) == 2 * 40
    assert len(sizes) == 6  # 26 in two parts after a second, then the other 14


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
    assert [reward.score for reward in rewards] == pytest.approx([0.2, 0.0, 0.8])


def test_the_embedded_judge_scores_each_alone() -> None:
    rubric = RUBRIC + "needs_reference = true\n"

    async def scenario() -> list[Reward]:
        async with open_service(Settings(rubric=rubric), environ={}) as service:
            return await service.score(
                [Sample(response="Paris", reference="Paris", group_key="g")] * 2
            )

    assert [reward.score for reward in asyncio.run(scenario())] == [1.0, 1.0]


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
        return group_grader.statistics(), len(group_grader._open)

    statistics, left = run_virtual(scenario())
    assert (statistics.groups, statistics.alone, left) == (0, 0, 0)
