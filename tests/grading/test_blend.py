"""Judges and verifiers together, with doubles of both."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest

from judge_service.flow import Request
from judge_service.grading import Blend, load_rubric, panels
from judge_service.testing import run_virtual
from judge_service.values import Part, Reward, Sample, Usage
from judge_service.verifiers import Check

MIXED = """
name = "mixed"
[[criteria]]
name = "clear"
description = "Is it clear?"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
weight = 3
"""
SAMPLE = Sample(id=1, response="Paris.", reference="Paris")


@pytest.fixture(autouse=True)
def _templates_are_read() -> None:
    """Before a loop runs, where reading files would be an error."""
    load_rubric(MIXED)


def verdict(score: float | None, **more: Any) -> Callable[[Sample], Any]:
    async def verify(_sample: Sample) -> Check:
        return Check(score=score, **more)

    return verify


def judged(score: float | None, reason: str | None = None, **more: Any) -> Any:
    async def grade(_request: Request[Sample]) -> Reward:
        part = Part("clear", score, 1.0, reason)
        return Reward(score=score, reason=reason, parts=(part,), **more)

    return grade


def blend(text: str = MIXED, **changes: Any) -> Blend:
    options: dict[str, Any] = {
        "panels": [judged(0.6, usage=Usage(100, 5, calls=1), cost_usd=0.1, model="judge-1")],
        "verifiers": {"right": verdict(1.0)},
        "max_sample_chars": 1_000,
    }
    return Blend(load_rubric(text), **(options | changes))


async def test_judged_and_verified_criteria_make_one_reward() -> None:
    mixed = blend()
    reward = await mixed(Request(SAMPLE))
    assert reward.score == pytest.approx(0.9)
    assert reward.parts == (Part("clear", 0.6, 1.0), Part("right", 1.0, 3.0, kind="verify"))
    assert (reward.usage, reward.cost_usd, reward.model) == (Usage(100, 5, calls=1), 0.1, "judge-1")
    assert mixed.statistics().scored == mixed.statistics().graded == 1


async def test_without_judged_criteria_nothing_is_spent() -> None:
    verified = MIXED.partition("[[criteria]]")[0] + MIXED.rpartition("[[criteria]]")[1]
    verified += MIXED.rpartition("[[criteria]]")[2]
    reward = await blend(verified, panels=[])(Request(SAMPLE))
    assert (reward.score, reward.usage.calls, reward.cost_usd, reward.model) == (1.0, 0, 0.0, "")


@pytest.mark.parametrize(
    ("sample", "score", "reason", "detail"),
    [
        (Sample(), None, "no_response", "the row has no response"),
        (Sample(response=" \u200b"), 0.0, None, "empty answer"),
        (
            Sample(response="x" * 1_001),
            None,
            "too_long",
            "1001 characters are over the limit of 1000",
        ),
    ],
)
async def test_what_nobody_needs_to_see_is_shown_to_nobody(
    sample: Sample, score: float | None, reason: str | None, detail: str
) -> None:
    reward = await blend(panels=[None], verifiers={"right": None})(Request(sample))
    assert (reward.score, reward.reason, reward.detail) == (score, reason, detail)
    assert [part.score for part in reward.parts] == [score, score]


async def test_a_judge_that_fails_leaves_no_score_but_what_was_verified() -> None:
    failed = judged(None, "refused", detail="the judge refused to answer", cost_usd=0.1)
    reward = await blend(panels=[failed])(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "refused")
    assert reward.detail == "the judge refused to answer"
    assert [part.score for part in reward.parts] == [None, 1.0]
    assert reward.cost_usd == 0.1


async def test_what_cannot_be_verified_leaves_no_score_but_what_was_judged() -> None:
    nothing = verdict(None, reason="no_reference", detail="the row has no reference answer")
    reward = await blend(verifiers={"right": nothing})(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "no_reference")
    assert reward.detail == "the row has no reference answer"
    assert [part.score for part in reward.parts] == [0.6, None]


@pytest.mark.parametrize("score", [1.5, -0.1, float("nan"), float("inf")])
async def test_a_verifier_that_gives_no_score_is_a_grader_error(score: float) -> None:
    reward = await blend(verifiers={"right": verdict(score)})(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "grader_error")
    assert reward.detail == "the verifier of right gave no number from 0 to 1"


@pytest.mark.parametrize("error", [ValueError, TimeoutError])
async def test_a_verifier_that_raises_is_a_grader_error_without_its_words(error: Any) -> None:
    async def broken(sample: Sample) -> Check:
        raise error(sample.response)

    reward = await blend(verifiers={"right": broken})(Request(SAMPLE))
    assert (reward.score, reward.reason) == (None, "grader_error")
    assert reward.detail == f"the verifier of right failed with {error.__name__}"


def test_judge_and_verifiers_work_at_the_same_time() -> None:
    async def slow(_sample: Sample) -> Check:
        await asyncio.sleep(3)
        return Check(score=1.0)

    async def judge(_request: Request[Sample]) -> Reward:
        await asyncio.sleep(3)
        return Reward(score=1.0, parts=(Part("clear", 1.0, 1.0),))

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        started = loop.time()
        await blend(panels=[judge], verifiers={"right": slow})(Request(SAMPLE))
        return loop.time() - started

    assert run_virtual(scenario()) == pytest.approx(3)


def test_a_verifier_ends_at_the_deadline() -> None:
    async def endless(_sample: Sample) -> Check:
        await asyncio.sleep(1e9)
        raise AssertionError

    async def scenario() -> Reward:
        deadline = asyncio.get_running_loop().time() + 2
        return await blend(verifiers={"right": endless})(Request(SAMPLE, deadline=deadline))

    reward = run_virtual(scenario())
    assert (reward.score, reward.reason) == (None, "deadline")
    assert reward.detail == "there was no time left to verify right"


def test_a_cancelled_blend_cancels_those_it_asked() -> None:
    ended: list[str] = []

    async def wait(name: str) -> Any:
        try:
            await asyncio.sleep(1e9)
        finally:
            ended.append(name)

    async def scenario() -> None:
        mixed = blend(
            panels=[lambda _: wait("judge")], verifiers={"right": lambda _: wait("verifier")}
        )
        task = asyncio.create_task(mixed(Request(SAMPLE)))
        await asyncio.sleep(1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    run_virtual(scenario())
    assert sorted(ended) == ["judge", "verifier"]


async def test_a_gate_on_a_verified_criterion_limits_the_whole() -> None:
    gated = blend(MIXED + "gate = { below = 1.0, cap = 0.2 }\n", verifiers={"right": verdict(0.5)})
    assert (await gated(Request(SAMPLE))).score == 0.2


async def test_shaping_lowers_the_reward_and_says_by_how_much() -> None:
    text = MIXED.replace('"mixed"\n', '"mixed"\n[shaping.length]\nmax_chars = 4\nweight = 0.4\n')
    shaped = blend(text)
    reward = await shaped(Request(SAMPLE))  # 6 characters, half of the way from 4 to 8
    assert reward.metrics == {"length_factor": pytest.approx(0.8)}
    assert reward.score == pytest.approx(0.9 * 0.8)
    assert shaped.statistics().shaped == 1


OWN = """
name = "several"
reasoning = "none"
[[criteria]]
name = "clear"
description = "Is it clear?"
[[criteria]]
name = "kind"
description = "Is it kind?"
model = "judge-2"
[[criteria]]
name = "short"
description = "Is it short?"
[[criteria]]
name = "true"
description = "Is it true?"
reasoning = "brief"
[[criteria]]
name = "styled"
description = "Is it well written?"
user = "{{response}}\\n{{criteria}}\\n{{answer}}"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
"""


def test_criteria_with_the_same_template_model_and_reasoning_share_a_call() -> None:
    found = panels(load_rubric(OWN))
    assert [[one.name for one in panel.criteria] for panel in found] == [
        ["clear", "short"],
        ["kind"],
        ["true"],
        ["styled"],
    ]
    assert [panel.model for panel in found] == ["", "judge-2", "", ""]
    assert [panel.reasoning for panel in found] == ["none", "none", "brief", "none"]
    assert found[3].user.startswith("{{response}}")
    assert len({panel.version for panel in found}) == 4


def test_a_rubric_of_one_call_is_its_own_panel() -> None:
    plain = load_rubric("similarity")
    assert panels(plain) == (plain,)


def test_the_blend_shows_whom_it_asks() -> None:
    first, *_ = blend().layers()
    assert re.fullmatch(
        r"<Blend mixed [0-9a-f]{16}, weighted_mean of 2 criteria, 1 verified, judge calls 1>", first
    )
