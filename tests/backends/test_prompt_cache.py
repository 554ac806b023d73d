"""What a judge is asked to keep of a prompt, how it is asked, and what a refusal changes."""

import json
from typing import Any

import pytest

from judge_service import Message, Sample, Settings, open_service
from judge_service.backends.prompt_cache import PromptCaching, min_tokens
from judge_service.backends.vocabulary.refusals import NO_CACHE
from judge_service.settings import (
    BedrockSettings,
    CacheSettings,
    LimitSettings,
    OpenAISettings,
    PromptCacheSettings,
)
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.telemetry.events import RequestChanged
from judge_service.testing import RecordingSink
from judge_service.values import Prompt, Question, Usage

ENVIRON = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}
NOVA = "us.amazon.nova-lite-v1:0"
TASK = "What does clause seven of this long contract say about the parish? " * 100  # 1,700 tokens


@pytest.mark.parametrize(
    ("model", "fewest"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", 4096),
        ("global.anthropic.claude-sonnet-4-5-20250929-v1:0", 4096),
        ("anthropic.claude-opus-4-6-v1", 4096),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", 2048),
        ("us.anthropic.claude-3-7-sonnet-20250219-v1:0", 1024),
        ("anthropic.claude-sonnet-4-20250514-v1:0", 1024),
        ("anthropic.claude-sonnet-4-6", 1024),
        ("anthropic.claude-opus-4-1-20250805-v1:0", 1024),
        (NOVA, 1024),
        ("us.amazon.nova-2-lite-v1:0", 1024),
        ("anthropic.claude-3-haiku-20240307-v1:0", None),
        ("openai.gpt-oss-120b-1:0", None),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", None),
    ],
)
def test_a_bedrock_model_has_the_minimum_of_its_documentation(
    model: str, fewest: int | None
) -> None:
    assert min_tokens(Settings(backend="bedrock", model=model)) == fewest


def test_the_setting_goes_before_the_table_and_can_turn_it_off() -> None:
    named = Settings(backend="bedrock", model="x", prompt_cache=PromptCacheSettings(min_tokens=5))
    off = Settings(backend="bedrock", model=NOVA, prompt_cache=PromptCacheSettings(enabled=False))
    assert min_tokens(named) == 5
    assert min_tokens(off) is None
    assert min_tokens(Settings()) is None
    assert min_tokens(Settings(backend="openai", model="m")) == 1024


def prompt(shared_chars: int, text: str = "x" * 400) -> Prompt:
    return Prompt(
        question=Question(criteria=(), task="", response=""),
        messages=(Message("system", "y" * 20), Message("user", text)),
        shared_chars=shared_chars,
        shared_key="k",
    )


@pytest.mark.parametrize(("shared", "found"), [(0, 0), (379, 0), (380, 380)])
def test_the_system_message_counts_and_what_comes_after_does_not(shared: int, found: int) -> None:
    caching = PromptCaching(100, count_tokens=lambda texts: sum(map(len, texts)) // 4)
    assert caching.chars(prompt(shared)) == found
    assert caching.key(prompt(shared)) == ("k" if found else "")


def samples(count: int = 3) -> list[Sample]:
    task = (Message("user", TASK),)
    return [
        Sample(id=place, messages=task, response=f"It says {place}.", reference="Nothing.")
        for place in range(count)
    ]


def bedrock(url: str, **changes: Any) -> Settings:
    options: dict[str, Any] = {
        "backend": "bedrock",
        "model": NOVA,
        "rubric": "examples/rubrics/quality.toml",
        "bedrock": BedrockSettings(endpoint_url=url),
        "cache": CacheSettings(max_entries=0),
    }
    return Settings(**(options | changes))


def openai(url: str, **changes: Any) -> Settings:
    return bedrock(
        url, backend="openai", model="m", openai=OpenAISettings(base_url=f"{url}/v1"), **changes
    )


@pytest.mark.parametrize("settings_of", [bedrock, openai])
async def test_rollouts_of_one_prompt_read_and_get_the_verdicts_they_had(settings_of: Any) -> None:
    rewards: dict[bool, Any] = {}
    for is_on in (False, True):
        # an OpenAI-compatible server caches unasked
        config = SimulatorConfig(cache_min_tokens=1024 if is_on else None)
        async with simulate(config) as simulator:
            settings = settings_of(simulator.url, prompt_cache=PromptCacheSettings(enabled=is_on))
            async with open_service(settings, environ=ENVIRON) as judge:
                first = await judge.score(samples(1))
                rewards[is_on] = [*first, *await judge.score(samples(4)[1:])]
            assert simulator.statistics().answered == 4
    on, off = rewards[True], rewards[False]
    assert [reward.parts for reward in on] == [reward.parts for reward in off]
    assert [reward.usage.cache_read_tokens > 1500 for reward in on] == [False, True, True, True]
    wrote = on[0].usage.cache_write_tokens
    assert (wrote > 1500) is (settings_of is bedrock)
    assert [reward.usage.cache_write_tokens for reward in on[1:]] == [0, 0, 0]
    assert all(reward.usage.cache_read_tokens == 0 for reward in off)


async def test_a_group_at_once_writes_once() -> None:
    async with simulate(SimulatorConfig(cache_min_tokens=1024, latency_median_s=0.05)) as simulator:
        async with open_service(bedrock(simulator.url), environ=ENVIRON) as judge:
            rewards = await judge.score(samples(8))
        assert all(reward.score is not None for reward in rewards)
        told = simulator.statistics()
    wrote = max(reward.usage.cache_write_tokens for reward in rewards)
    assert (told.cache_write_tokens, told.cache_read_tokens) == (wrote, 7 * wrote)


@pytest.mark.parametrize("settings_of", [bedrock, openai])
async def test_a_judge_that_refuses_to_cache_is_asked_without_and_told_of_once(
    settings_of: Any,
) -> None:
    sink = RecordingSink()
    async with simulate(SimulatorConfig(refuses_caching=True)) as simulator:
        async with open_service(settings_of(simulator.url), environ=ENVIRON, sink=sink) as judge:
            rewards = await judge.score(samples(1))
            rewards += await judge.score(samples(4)[1:])
            layers = str(judge.explain())
        told = simulator.statistics()
    assert all(reward.score is not None for reward in rewards)
    assert sum(told.by_status.values()) == 5
    assert told.by_status[200] == 4
    assert [event.changes for event in sink.of(RequestChanged)] == [NO_CACHE]
    assert "refused by the judge" in layers


async def test_a_refusal_that_is_of_something_else_turns_nothing_off() -> None:
    faults = ("access_denied", "access_denied", None)
    async with (
        simulate(SimulatorConfig(faults=faults, cache_min_tokens=1024)) as simulator,
        open_service(bedrock(simulator.url), environ=ENVIRON) as judge,
    ):
        await judge.score(samples(1))
        layers = str(judge.explain())
    assert "refused by the judge" not in layers


def test_the_price_of_what_was_read_and_written_is_its_own() -> None:
    from judge_service.assembly.graders import _price
    from judge_service.settings import PriceSettings

    usage = Usage(1_000_000, 1_000_000, 2_000_000, 1_000_000, calls=1)
    plain = {"input_usd_per_million_tokens": 1.0, "output_usd_per_million_tokens": 5.0}
    cached = {"cache_read_usd_per_million_tokens": 0.1, "cache_write_usd_per_million_tokens": 1.25}
    assert _price(PriceSettings(**plain))(usage) == pytest.approx(9.0)
    assert _price(PriceSettings(**plain, **cached))(usage) == pytest.approx(1 + 5 + 0.2 + 1.25)


def test_a_cache_point_stands_between_what_is_shared_and_the_rest() -> None:
    from judge_service.backends.bedrock.converse import body_of

    body = body_of(prompt(3, "sharedown"), NOVA, cached_chars=6)
    assert json.loads(json.dumps(body["messages"])) == [
        {
            "role": "user",
            "content": [{"text": "shared"}, {"cachePoint": {"type": "default"}}, {"text": "own"}],
        }
    ]


async def test_the_rate_to_expect_knows_what_a_group_reads() -> None:
    limits = LimitSettings(tokens_per_minute=1_000_000)
    async with (
        open_service(bedrock("http://localhost", limits=limits), environ=ENVIRON) as on,
        open_service(
            bedrock(
                "http://localhost",
                limits=limits,
                prompt_cache=PromptCacheSettings(enabled=False),
            ),
            environ=ENVIRON,
        ) as off,
    ):
        few, many = (judge.expect(text_tokens=20_000) for judge in (off, on))
        assert (few.read_tokens, on.expect(text_tokens=300).read_tokens) == (0, 0)
        assert many.read_tokens == pytest.approx(10_000 * 7 / 8, rel=0.05)
        assert few.evaluations_per_s is not None
        counted = many.input_tokens - many.read_tokens + many.output_tokens
        assert many.evaluations_per_s == pytest.approx(1_000_000 / 60 / counted)
        assert "read from the judge's prompt cache" in many.lines()[0]
