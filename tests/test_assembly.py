"""Assembly from settings: targets, failover, and errors for settings that contradict each other."""

from typing import Any

import pytest

from judge_service.assembly.instrument import digest_of, judge_of
from judge_service.assembly.stacks import base_model
from judge_service.backends.scripted import Scripted
from judge_service.errors import SettingsError
from judge_service.service import open_service
from judge_service.settings import OpenAISettings, SageMakerSettings, Settings, load_settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.values import Sample

KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("us.amazon.nova-lite-v1:0", "amazon.nova-lite-v1:0"),
        (
            "us.anthropic.claude-haiku-4-5-20251001-v1:0",
            "global.anthropic.claude-haiku-4-5-20251001-v1:0",
        ),
    ],
)
def test_profiles_of_one_model_are_that_model(one: str, other: str) -> None:
    assert base_model(one) == base_model(other)


async def opened(**variables: str) -> None:
    settings = load_settings(None, {"JUDGE_BACKEND": "bedrock", "JUDGE_MODEL": "m", **variables})
    async with open_service(settings, environ=KEYS):
        pass


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"JUDGE_FAILOVER_MODELS": "other"}, "changes what is measured"),
        (
            {"JUDGE_BACKEND": "openai", "JUDGE_FAILOVER_REGIONS": "eu-west-1"},
            "is for the bedrock backend",
        ),
        (
            {"JUDGE_LIMITS_STORE": "redis", "JUDGE_LIMITS_STORE_URL": "redis://127.0.0.1:1/0"},
            "shares a quota, but no quota is set",
        ),
    ],
)
async def test_what_makes_no_sense_is_refused_in_one_sentence(
    variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says):
        await opened(**variables)


async def test_a_dead_region_fails_over_and_the_reward_says_who_judged() -> None:
    async with simulate(SimulatorConfig()) as simulator:
        settings = load_settings(
            None,
            {
                "JUDGE_BACKEND": "openai",
                "JUDGE_MODEL": "us.first",
                "JUDGE_FAILOVER_MODELS": "eu.first",
                "JUDGE_OPENAI_BASE_URL": f"{simulator.url}/v1",
            },
        )
        simulator.script("unavailable")
        async with open_service(settings, environ={}) as judge:
            [reward] = await judge.score([Sample(response="a", reference="b")])

    assert reward.score is not None
    assert reward.model == "eu.first"


async def test_packs_and_votes_go_through_the_front_door() -> None:
    variables = {"JUDGE_BACKEND": "openai", "JUDGE_MODEL": "m", "JUDGE_TEMPERATURE": "1"}

    async def rewards(**more: str) -> list[Any]:
        settings = load_settings(None, {**variables, **more})
        async with open_service(settings, model=Scripted("0.5")) as judge:
            return await judge.score([Sample(id=n, response=f"{n}", reference="b") for n in "abc"])

    voted = await rewards(JUDGE_VOTE_DRAWS="3")
    packed = await rewards(JUDGE_PACK_MAX_SAMPLES="3")

    assert [(reward.score, reward.usage.calls) for reward in voted] == [(0.5, 3)] * 3
    assert [reward.score for reward in packed] == [0.5] * 3  # no pack in the answer: asked alone


def test_a_shared_cache_tells_apart_all_that_makes_another_answer_of_one_prompt() -> None:
    sagemaker = {"backend": "sagemaker", "model": "m"}
    parts = [
        {"inference_component": "c"},
        {"model_name": "c"},
        {"reasoning_effort": "low"},
        {"logprobs": 5},
        {"logprobs": 20},
        {},
    ]
    chosen = [
        Settings(sagemaker=SageMakerSettings(**part), **sagemaker)  # type: ignore[arg-type]
        for part in parts
    ]
    chosen += [
        Settings(backend="openai", model="m", openai=OpenAISettings(logprobs=top)) for top in (0, 5)
    ]
    names = [digest_of(judge_of(settings, "m", {})) for settings in chosen]

    assert len(set(names)) == len(names)
