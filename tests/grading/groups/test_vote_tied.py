"""Further opinions only where a group ties, in virtual time."""

import asyncio
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from statistics import fmean
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge_service import Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied, SettingsError
from judge_service.flow import Request
from judge_service.grading import TiedVote
from judge_service.settings import PackSettings, VoteSettings
from judge_service.testing import START_S, run_virtual
from judge_service.values import Message, Part, Prompt, Reward, Sample, Usage

RUBRIC = """
name = "one_number"
[[criteria]]
name = "good"
description = "Is it good?"
"""

Script = Mapping[str, Sequence[Any]]
"""What the judge says of a response, draw by draw."""


def sample(response: str, group: str = "g") -> Sample:
    return Sample(
        id=response, messages=(Message("user", group),), response=response, group_key=group
    )


def play(script: Script, **options: Any) -> Scripted:
    return Scripted(
        lambda prompt: script[prompt.question.response][prompt.draw],
        **{"latency_s": 1.0} | options,
    )


def score(
    judge: Scripted, samples: Sequence[Sample], *, draws: int = 3, **more: Any
) -> list[Reward]:
    async def scenario() -> list[Reward]:
        chosen = Settings(
            rubric=RUBRIC,
            temperature=1.0,
            answer="text",
            max_reasks=0,
            vote=VoteSettings(draws=draws, when="tied"),
            **more,
        )
        async with open_service(chosen, environ={}, model=judge) as service:
            return await service.score(samples)

    return run_virtual(scenario())


def drawn(judge: Scripted) -> Counter[str]:
    return Counter(prompt.question.response for prompt in judge.prompts)


def test_a_group_whose_rewards_differ_has_one_opinion_each() -> None:
    judge = play({"a": [0.2], "b": [0.4], "c": [0.2]})
    rewards = score(judge, [sample(name) for name in "abc"])
    assert [reward.score for reward in rewards] == [0.2, 0.4, 0.2]
    assert drawn(judge) == {"a": 1, "b": 1, "c": 1}


def test_a_tie_is_drawn_again_until_it_is_broken_and_all_have_as_many_opinions() -> None:
    judge = play({"a": [0.5, 0.5, 0.8], "b": [0.5, 0.5, 0.2], "c": [0.5, 0.5, 0.5]})
    rewards = score(judge, [sample(name) for name in "abc"], draws=5)
    assert [reward.score for reward in rewards] == pytest.approx([0.6, 0.4, 0.5])
    assert drawn(judge) == {"a": 3, "b": 3, "c": 3}
    assert [reward.usage.calls for reward in rewards] == [3, 3, 3]


def test_a_tie_that_stays_ends_after_so_many_draws() -> None:
    judge = play({"a": [0.5] * 3, "b": [0.5] * 3})
    rewards = score(judge, [sample(name) for name in "ab"])
    assert [reward.score for reward in rewards] == [0.5, 0.5]
    assert drawn(judge) == {"a": 3, "b": 3}


@pytest.mark.parametrize(
    "samples",
    [
        [sample("a", "g"), sample("b", "h")],
        [sample("a", ""), sample("b", "")],
        [sample("a"), sample("a"), sample("a")],
    ],
    ids=["each by itself", "no group", "equal answers"],
)
def test_without_different_siblings_there_is_no_tie(samples: list[Sample]) -> None:
    judge = play({"a": [0.5], "b": [0.5]})
    assert {reward.score for reward in score(judge, samples)} == {0.5}


def test_who_has_no_score_takes_no_part_and_keeps_its_reason() -> None:
    judge = play({"a": [0.5, 0.9], "b": [0.5, 0.1], "c": [Denied("no")]})
    rewards = score(judge, [sample(name) for name in "abc"])
    assert [reward.score for reward in rewards] == pytest.approx([0.7, 0.3, None])
    assert rewards[2].reason == "denied"


def test_a_later_opinion_without_a_score_is_left_out() -> None:
    judge = play({"a": [0.5, "hm", 0.5], "b": [0.5, 0.9]})
    rewards = score(judge, [sample(name) for name in "ab"])
    assert [reward.score for reward in rewards] == pytest.approx([0.5, 0.7])
    assert rewards[0].usage.calls == 2


async def answer(request: Request[Sample], /, *, draw: int = 0, draws: int = 1) -> Reward:
    """A judge that takes as many seconds as the response says."""
    await asyncio.sleep(float(request.body.response or 0))
    parts = (Part("similarity", 0.5, 1.0),)
    return Reward(score=0.5, parts=parts, usage=Usage(calls=1))


@pytest.fixture
def layer(make_grader: Any) -> TiedVote:
    asker = make_grader(None)
    return TiedVote(answer, asker=asker, draws=3, reduce="mean", temperature=1.0)


def requests(*seconds: float, deadline_s: float = inf) -> list[Request[Sample]]:
    samples = [Sample(response=f"{one}", reference="r", group_key="g") for one in seconds]
    return [Request(one, START_S + deadline_s) for one in samples]


def test_a_slow_sibling_is_waited_for_until_the_deadline(layer: TiedVote) -> None:
    async def scenario() -> float:
        quick, slow = (asyncio.create_task(layer(one)) for one in requests(1, 60, deadline_s=10))
        reward = await quick
        assert (reward.score, reward.usage.calls) == (0.5, 1)
        waited_s = asyncio.get_running_loop().time() - START_S
        assert (await slow).score == 0.5
        return waited_s

    assert run_virtual(scenario()) == 10
    assert (layer.statistics().drawn, len(layer._open)) == (2, 0)


def test_whoever_is_cancelled_holds_nobody_up(layer: TiedVote) -> None:
    async def scenario() -> tuple[Reward, float]:
        tasks = [asyncio.create_task(layer(one)) for one in requests(1, 2, 60)]
        await asyncio.sleep(5)
        tasks[2].cancel()
        await asyncio.gather(tasks[2], return_exceptions=True)
        rewards = await asyncio.gather(*tasks[:2])
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return rewards[0], asyncio.get_running_loop().time() - START_S

    reward, seconds = run_virtual(scenario())
    assert reward.usage.calls == 3  # the other two tie, and are asked twice more
    assert seconds == 5 + 2 + 2


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    script=st.dictionaries(
        st.sampled_from("abcdefgh"),
        st.lists(st.sampled_from((0.25, 0.5, 0.75)), min_size=3, max_size=3),
        min_size=1,
    )
)
def test_a_group_ends_without_a_tie_or_with_all_its_draws(script: dict[str, list[float]]) -> None:
    judge = play(script)
    rewards = score(judge, [sample(name) for name in script])
    (count,) = set(drawn(judge).values())
    means = [fmean(draws[:count]) for draws in script.values()]
    assert [reward.score for reward in rewards] == pytest.approx(means)
    alike = max(means) - min(means) < 1e-9
    assert count == 3 if alike and len(script) > 1 else not alike or count == 1
    for fewer in range(1, count):  # no draw was asked for without a tie
        earlier = [fmean(draws[:fewer]) for draws in script.values()]
        assert max(earlier) - min(earlier) < 1e-9


def test_a_stream_with_a_small_window_finds_its_ties() -> None:
    judge = play({"a": [0.5, 0.9], "b": [0.5, 0.1]})

    async def scenario() -> list[Reward]:
        vote = VoteSettings(draws=3, when="tied")
        chosen = Settings(rubric=RUBRIC, temperature=1.0, vote=vote)
        async with open_service(chosen, environ={}, model=judge) as service:
            jobs = [(name, sample(name)) for name in "ab"]
            return [reward async for _, reward in service.stream(jobs, window=1)]

    assert sorted(reward.score or 0 for reward in run_virtual(scenario())) == pytest.approx(
        [0.3, 0.7]
    )


def test_packs_draw_again_together() -> None:
    def packed(prompt: Prompt) -> str:
        entries = [{"ID": label, "good": 0.5} for label in prompt.labels]  # type: ignore[attr-defined]
        return json.dumps({"verdicts": entries})

    judge = Scripted(packed)
    rewards = score(judge, [sample(name) for name in "abcd"], pack=PackSettings(max_samples=4))
    assert [reward.score for reward in rewards] == [0.5] * 4
    assert [prompt.draw for prompt in judge.prompts] == [0, 1, 2]


def test_temperature_zero_is_refused(make_grader: Any) -> None:
    with pytest.raises(SettingsError, match="`temperature` is 0"):
        TiedVote(answer, asker=make_grader(None), draws=3, reduce="mean", temperature=0.0)
