"""Each fault of one judge call, through the whole stack and over real sockets to the simulator."""

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest

from judge_service.service import JudgeService, open_service
from judge_service.settings import load_settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.server import Simulator
from judge_service.values import Reward, Sample

HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"  # knows every channel
QUALITY = "examples/rubrics/quality.toml"
TOKENS_PER_MINUTE = 60_000  # less than what Bedrock reserves for a call without a maximum


@asynccontextmanager
async def judging(
    config: SimulatorConfig,
    *,
    environ: dict[str, str] | None = None,
    wall_clock: Any = time.time,
    **more: str,
) -> Any:
    """A service in front of a simulator."""
    keys = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}
    variables = {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "simulated",
        "JUDGE_BEDROCK_REGION": "us-east-1",
        "JUDGE_RETRY_BASE_S": "0.001",
        "JUDGE_RETRY_THROTTLED_BASE_S": "0.001",
        "JUDGE_RETRY_CAP_S": "0.01",
        "JUDGE_RETRY_MAX_ATTEMPTS": "2",
        **more,
    }
    async with AsyncExitStack() as closing:
        simulator = await closing.enter_async_context(simulate(config, wall_clock=wall_clock))
        settings = load_settings(None, variables | {"JUDGE_BEDROCK_ENDPOINT_URL": simulator.url})
        judge = await closing.enter_async_context(
            open_service(settings, environ=keys if environ is None else environ)
        )
        yield judge, simulator


def samples(count: int, first: int = 0) -> list[Sample]:
    return [
        Sample(id=n, response=f"answer {n}", reference="gold") for n in range(first, first + count)
    ]


async def score_one(judge: JudgeService) -> Reward:
    return (await judge.score(samples(1)))[0]


FAILS_THE_CALL = {
    "model_timeout": "unavailable",  # 10
    "model_error": "unavailable",
    "reset": "unavailable",  # 13
    "reset_body": "unavailable",
    "half_body": "unavailable",
    "short_length": "unavailable",  # 14
    "bad_chunks": "unavailable",
    "malformed_json": "unavailable",  # 15
    "html": "unavailable",
    "empty_body": "unavailable",
    "garbage": "unparseable",  # 16
    "empty_content": "unparseable",  # 18
    "reasoning_only": "unparseable",
    "malformed_output": "unparseable",
    "max_tokens": "truncated",  # 20
}
"""Faults that are worth exactly one more try, with the reason when that fails as well."""


@pytest.mark.parametrize("fault", FAILS_THE_CALL)
async def test_a_fault_that_passes_costs_one_more_call_and_one_that_stays_has_its_reason(
    fault: Any,
) -> None:
    async with judging(SimulatorConfig(faults=(fault, None, fault, fault))) as (judge, simulator):
        passed = await score_one(judge)
        (stayed,) = await judge.score(samples(1, first=1))

        assert passed.score is not None
        assert (stayed.score, stayed.reason) == (None, FAILS_THE_CALL[fault])
        assert simulator.statistics().calls == 4
        assert simulator.statistics().by_fault == {fault: 3}


@pytest.mark.parametrize("fault", ["content_filtered", "guardrail"])
async def test_a_refusal_is_told_apart_and_asked_once(fault: Any) -> None:
    roomy = {
        "JUDGE_RUBRIC": QUALITY
    }  # where the simulator has to cut its answer it says so instead
    async with judging(SimulatorConfig(faults=(fault,)), **roomy) as (judge, simulator):
        reward = await score_one(judge)

        assert (reward.score, reward.reason) == (None, "refused")
        assert simulator.statistics().calls == 1


@pytest.mark.parametrize("fault", ["hang", "headers_only", "slow_body"])
async def test_a_reply_that_does_not_come_ends_with_the_call_timeout(fault: Any) -> None:
    config = SimulatorConfig(faults=(fault, fault, None))
    async with judging(config, JUDGE_HTTP_CALL_TIMEOUT_S="0.1") as (judge, simulator):
        began = time.monotonic()
        reward = await score_one(judge)

        assert reward.reason == "unavailable"
        assert time.monotonic() - began < 1.5  # two timeouts, and a slow machine
        await asyncio.sleep(0.05)
        assert simulator.statistics().open_connections == 0  # neither goes back to the pool
        assert (await score_one(judge)).score is not None


async def test_a_maximum_of_output_tokens_is_always_sent() -> None:
    """Without it the first call alone would reserve more than this quota holds."""
    channels: set[str] = set()
    text: dict[str, Any] = {"refuses_schema": True, "refuses_tool": True}
    for refuses in ({}, {"refuses_schema": True}, text):
        config = SimulatorConfig(tokens_per_minute=TOKENS_PER_MINUTE, burst_s=60.0, **refuses)
        more = {"JUDGE_MODEL": HAIKU, "JUDGE_RUBRIC": QUALITY}
        async with judging(config, **more) as (judge, simulator):
            rewards = await judge.score(samples(4))

            assert [reward.reason for reward in rewards] == [None] * 4
            answered = [call for call in simulator.events() if call.status == 200]
            channels.update(call.channel for call in answered)
            assert all(0 < (call.max_output_tokens or 0) <= 200 for call in answered)
            assert 429 not in simulator.statistics().by_status
    assert channels == {"schema", "tool", "text"}


async def test_what_we_reserve_is_what_bedrock_reserves() -> None:
    """With the same quota on both sides nothing is refused, though each call's true size differs."""
    config = SimulatorConfig(tokens_per_minute=TOKENS_PER_MINUTE, burst_s=1.0)
    limit = {"JUDGE_LIMITS_TOKENS_PER_MINUTE": str(TOKENS_PER_MINUTE)}
    async with judging(config, **limit) as (judge, simulator):
        rewards = await judge.score(samples(7))

        assert [reward.reason for reward in rewards] == [None] * 7
        assert 429 not in simulator.statistics().by_status


async def test_after_the_days_quota_nothing_more_is_sent() -> None:
    async with judging(SimulatorConfig(daily_quota_rate=1.0)) as (judge, simulator):
        first = await score_one(judge)
        later = await judge.score(samples(20, first=1))

        assert {reward.reason for reward in [first, *later]} == {"quota_exhausted"}
        assert simulator.statistics().calls == 1


async def test_credentials_that_expire_in_mid_run_are_read_again_and_every_sample_is_scored() -> (
    None
):
    environ = {"AWS_ACCESS_KEY_ID": "OLD", "AWS_SECRET_ACCESS_KEY": "any"}
    async with judging(SimulatorConfig(), environ=environ) as (judge, simulator):
        await judge.score(samples(16))  # 16 connections are open: the next 16 calls leave at once,
        environ["AWS_ACCESS_KEY_ID"] = "NEW"
        simulator.script(
            *["expired_token"] * 8
        )  # so these are not met by a call that was sent again
        rewards = await judge.score(samples(16, first=16))

        assert [reward.reason for reward in rewards] == [None] * 16
        assert simulator.statistics().calls == 16 + 8 + 16
        assert environ["AWS_ACCESS_KEY_ID"] in repr(await source(judge).get())


def source(judge: JudgeService) -> Any:
    return judge._assembly.targets[0].backend._identities


@pytest.mark.parametrize("jump_s", [600.0, -600.0])
async def test_a_wall_clock_that_jumps_costs_one_correction(jump_s: float) -> None:
    """Their clock jumps instead of ours: it is the difference that a signature shows."""
    theirs = [0.0]
    keys = {"access_key": "any", "secret_key": "any"}
    config = SimulatorConfig(verify_sigv4=True, **keys)
    async with judging(config, wall_clock=lambda: time.time() + theirs[0]) as (judge, simulator):
        await judge.score(samples(2))
        theirs[0] = jump_s
        rewards = [await score_again(judge, n) for n in range(2, 6)]

        assert [reward.reason for reward in rewards] == [None] * 4
        assert simulator.statistics().calls == 2 + 1 + 4


async def score_again(judge: JudgeService, number: int) -> Reward:
    return (await judge.score(samples(1, first=number)))[0]


async def test_a_batch_that_is_left_leaves_the_simulator_and_the_gate_empty() -> None:
    config = SimulatorConfig(latency_median_s=0.1, latency_sigma=0.0)
    limits = {"JUDGE_LIMITS_REQUESTS_PER_MINUTE": "600", "JUDGE_LIMITS_MAX_IN_FLIGHT": "4"}
    async with judging(config, **limits) as (judge, simulator):
        batch = asyncio.create_task(judge.score(samples(50)))
        await asyncio.sleep(0.05)
        began = time.monotonic()
        batch.cancel()
        await asyncio.wait([batch])
        assert time.monotonic() - began < 0.1
        await asyncio.sleep(0.3)

        assert held(judge, simulator) == (0, 0, 0, 0)


def held(judge: JudgeService, simulator: Simulator) -> tuple[float, ...]:
    gate = judge._assembly.targets[0].gate.statistics()
    return (
        gate.waiting,
        gate.in_flight,
        gate.reserved["requests"],
        simulator.statistics().in_flight,
    )
