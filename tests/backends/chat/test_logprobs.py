"""Expected scores through the whole service, with and without token probabilities."""

import asyncio
import json
import logging
from contextlib import asynccontextmanager
from math import exp
from pathlib import Path
from typing import Any

import pytest

from judge_service.errors import Denied, SettingsError
from judge_service.service import open_service
from judge_service.settings import load_settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.answers import digest_prompt
from judge_service.simulator.likelihood import likelihoods
from judge_service.values import Sample
from tests.backends.contract import ENVIRON, REMOTE, ask, complaints, prompt

RUBRIC = """
name = "quality"
answer = "{channel}"
[[criteria]]
name = "good"
description = "How good is it?"
levels = [1, 2, 3, 4, 5]
[[criteria]]
name = "close"
description = "How close is it?"
"""
JUDGES = {"openai": "JUDGE_OPENAI_LOGPROBS", "sagemaker": "JUDGE_SAGEMAKER_LOGPROBS",
          "nova": "JUDGE_SAGEMAKER_LOGPROBS"}  # fmt: skip
SAMPLES = [Sample(id=n, response=f"answer {n}") for n in range(12)]
every_judge = pytest.mark.parametrize("name", JUDGES)


@asynccontextmanager
async def scoring(
    name: str, rubric: Path, *, top: int = 20, channel: str = "text", **config: Any
) -> Any:
    await asyncio.to_thread(rubric.write_text, RUBRIC.format(channel=channel))
    async with simulate(SimulatorConfig(**config)) as simulator:
        variables = {**REMOTE[name].environ, JUDGES[name]: str(top), "JUDGE_RUBRIC": str(rubric)}
        told = {key: value.replace("@", simulator.url) for key, value in variables.items()}
        async with open_service(load_settings(None, told), environ=ENVIRON) as judge:
            yield judge, simulator


def backend(judge: Any) -> Any:
    return judge._assembly.targets[0].backend


def expected(written: str, digest: int) -> tuple[float, float]:
    """The expectation and the probability of no level, from what the simulator tells."""
    entry = next(one for one in likelihoods(written, digest, 20) if one["token"].isdigit())
    likely = {one["token"]: exp(one["logprob"]) for one in entry["top_logprobs"]}
    levels = {int(token): share for token, share in likely.items() if token in "12345"}
    share = sum(levels.values())
    return sum(level * one for level, one in levels.items()) / share / 4 - 0.25, 1 - share


@every_judge
@pytest.mark.parametrize("channel", ["text", "schema"])
async def test_a_criterion_with_levels_scores_what_the_judge_expects(
    name: str, channel: str, tmp_path: Path
) -> None:
    async with scoring(name, tmp_path / "r.toml", channel=channel) as (judge, simulator):
        rewards = await judge.score(SAMPLES)
        again = await judge.score(SAMPLES)
        calls = simulator.statistics().calls

    goods = [reward.parts[0] for reward in rewards]
    closes = [reward.parts[1] for reward in rewards]
    assert calls == len(SAMPLES)  # the second time all came from the cache, and said the same
    assert [reward.parts for reward in again] == [reward.parts for reward in rewards]
    assert len({part.score for part in goods}) == len(SAMPLES)  # five levels would be five scores
    assert all(0 < part.off_menu < 0.6 for part in goods)
    assert {part.off_menu for part in closes} == {None}


async def test_the_score_is_the_mean_over_what_the_simulator_told(tmp_path: Path) -> None:
    asked: list[str] = []

    def written(text: str, _score: float) -> str:
        asked.append(text)
        return '{"good": 2, "close": 0.5}'

    async with scoring("openai", tmp_path / "r.toml", text_answer=written) as (judge, _):
        (reward,) = await judge.score(SAMPLES[:1])

    score, off_menu = expected('{"good": 2, "close": 0.5}', digest_prompt(asked[0], 0))
    assert (reward.parts[0].score, reward.parts[0].off_menu) == pytest.approx((score, off_menu))
    assert reward.parts[1].score == 0.5


@every_judge
async def test_without_the_setting_nothing_is_asked_and_the_written_level_is_the_score(
    name: str, tmp_path: Path
) -> None:
    refusing = {"refuses_logprobs": True, "top": 0}
    async with scoring(name, tmp_path / "r.toml", **refusing) as (judge, simulator):
        rewards = await judge.score(SAMPLES)

        assert simulator.statistics().by_status == {200: len(SAMPLES)}
        assert backend(judge).statistics().without_logprobs == 0
    assert {reward.parts[0].score for reward in rewards} <= {0.0, 0.25, 0.5, 0.75, 1.0}
    assert {reward.parts[0].off_menu for reward in rewards} == {None}


@every_judge
async def test_a_server_that_refuses_the_wish_is_asked_without_it_from_then_on(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "judge_service"):
        async with scoring(name, tmp_path / "r.toml", refuses_logprobs=True) as (judge, simulator):
            (first,) = await judge.score(SAMPLES[:1])
            rewards = await judge.score(SAMPLES[1:])
            by_status = simulator.statistics().by_status

    assert by_status.pop(200) == len(SAMPLES)
    assert list(by_status.values()) == [1]
    assert {reward.parts[0].off_menu for reward in [first, *rewards]} == {None}
    (line,) = [record.getMessage() for record in caplog.records]
    assert (
        "logprobs asks for token probabilities and the judge refuses 20 (it may allow fewer)"
        in line
    )


def completion(**choice: Any) -> Any:
    said = {"role": "assistant", "content": "4"}
    return {"choices": [{"message": said, "finish_reason": "stop", **choice}]}


SURE = {"content": [{"token": "4", "logprob": 0.0, "top_logprobs": []}]}


@pytest.mark.parametrize(
    "logprobs", [None, {}, {"content": None}, {"tokens": ["4"]}, [], "no", {"content": [{"t": 1}]}]
)
async def test_a_server_that_sends_none_or_its_own_is_counted_and_told_once(
    server: Any, answer: Any, caplog: pytest.LogCaptureFixture, logprobs: Any
) -> None:
    server.will(answer(200, completion(logprobs=logprobs)))
    with caplog.at_level(logging.WARNING, "judge_service"):
        async with REMOTE["openai"].open(server.url, JUDGE_OPENAI_LOGPROBS="5") as judge:
            completions = [await ask(judge) for _ in range(3)]

    assert [(one.text, one.choices) for one in completions] == [("4", ())] * 3
    assert judge.statistics().without_logprobs == 3
    assert len(caplog.records) == 1
    assert json.loads(server.received[-1].body)["top_logprobs"] == 5  # others behind it may


async def test_words_of_a_candidate_in_an_error_do_not_turn_it_off(
    server: Any, answer: Any
) -> None:
    quoted = answer(400, {"error": {"message": "bad input: 'logprobs is not supported'"}})
    sure = answer(200, completion(logprobs=SURE))
    server.will(quoted, quoted, quoted, sure)
    async with REMOTE["openai"].open(server.url, JUDGE_OPENAI_LOGPROBS="5") as judge:
        refused = await complaints(judge)  # asks for none, so there is nothing to try without
        with pytest.raises(Denied, match="refuses the call"):
            await ask(judge)
        kept = await ask(judge)

    assert len(refused) == 1
    assert len(kept.choices) == 1


@pytest.mark.parametrize("channel", ["tool", "text"])
async def test_probabilities_are_asked_for_only_where_they_can_be_used(
    server: Any, answer: Any, channel: Any
) -> None:
    server.will(answer(200, completion(logprobs=SURE)))
    open_scale = prompt(channel).question
    async with REMOTE["openai"].open(server.url, JUDGE_OPENAI_LOGPROBS="5") as judge:
        if channel == "tool":
            await ask(judge, prompt("tool"))
        else:
            free = open_scale.criteria[0].__class__(name="free", description="d")
            question = open_scale.__class__(criteria=(free,), task="", response="")
            await ask(judge, prompt(question=question))

    assert "logprobs" not in json.loads(server.received[0].body)
    assert judge.statistics().without_logprobs == 0


def test_several_samples_in_a_call_and_expectations_exclude_each_other() -> None:
    chosen = {"JUDGE_BACKEND": "openai", "JUDGE_MODEL": "m", "JUDGE_PACK_MAX_SAMPLES": "4"}
    load_settings(None, chosen)
    with pytest.raises(SettingsError, match=r"openai\.logprobs.*pack\.max_samples = 1"):
        load_settings(None, {**chosen, "JUDGE_OPENAI_LOGPROBS": "5"})
