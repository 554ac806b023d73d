"""Faults that need time, through the whole stack under virtual time, with doubles for the judge."""

import asyncio
import random
import time
from typing import Any

import pytest

from judge_service.assembly import stacks
from judge_service.backends.scripted import Scripted
from judge_service.errors import SettingsError, Throttled, Unavailable
from judge_service.flow.admission.permit import GateStatistics
from judge_service.service import JudgeService, open_service
from judge_service.settings import Settings, load_settings
from judge_service.telemetry.events import BreakerChanged, CallEnded, FailedOver, Hedged
from judge_service.testing import START_S, RecordingSink, VirtualTimeLoop, run_virtual
from judge_service.values import Sample

PER_MINUTE = 600
PER_S = PER_MINUTE / 60
BURST = PER_S * 0.5


def samples(count: int, first: int = 0) -> list[Sample]:
    return [
        Sample(id=n, response=f"answer {n}", reference="gold") for n in range(first, first + count)
    ]


def limited(**more: str) -> Settings:
    return load_settings(None, {"JUDGE_LIMITS_REQUESTS_PER_MINUTE": str(PER_MINUTE), **more})


def gate_of(judge: JudgeService) -> GateStatistics:
    return judge._assembly.targets[0].gate.statistics()


class Judge(Scripted):
    """Remembers when each call began, seconds since the start."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.began_s: list[float] = []

    async def __call__(self, request: Any) -> Any:
        self.began_s.append(asyncio.get_running_loop().time() - START_S)
        return await super().__call__(request)


class Endless(Judge):
    """Says that it was sent, as a transport does."""

    async def __call__(self, request: Any) -> Any:
        request.sent_at = asyncio.get_running_loop().time()
        return await super().__call__(request)


# 5


def test_a_storm_of_a_minute_loses_no_sample_and_the_quota_is_used_again_soon() -> None:
    def answers(_prompt: Any) -> Any:
        now_s = asyncio.get_running_loop().time() - START_S
        return Throttled("full") if 10 <= now_s < 70 else "0.5"

    async def scenario() -> tuple[list[Any], Judge]:
        judge = Judge(answers, latency_s=0.1)
        async with open_service(limited(), model=judge) as service:
            rewards = await service.score(samples(600), deadline_s=600)
        return rewards, judge

    rewards, judge = run_virtual(scenario())

    assert [reward.reason for reward in rewards] == [None] * 600
    assert sum(12 <= at_s < 70 for at_s in judge.began_s) <= 1.1 * 58
    assert sum(80 <= at_s < 90 for at_s in judge.began_s) >= 0.9 * 10 * PER_S


# 9


def two_regions(
    monkeypatch: pytest.MonkeyPatch, first: Scripted, second: Scripted, **more: str
) -> Settings:
    backends = iter([first, second])
    monkeypatch.setattr(stacks, "open_backend", lambda *_: next(backends))
    return load_settings(
        None,
        {
            "JUDGE_BACKEND": "bedrock",
            "JUDGE_MODEL": "us.amazon.nova-lite-v1:0",
            "JUDGE_BEDROCK_REGION": "us-east-1",
            **more,
        },
    )


def test_a_region_that_is_down_opens_its_breaker_at_once_and_the_other_one_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = Judge(Unavailable("refused"), model="us.amazon.nova-lite-v1:0", latency_s=0.05)
    well = Judge("0.5", model="eu.amazon.nova-lite-v1:0", latency_s=0.3)
    profile = {"JUDGE_FAILOVER_MODELS": "eu.amazon.nova-lite-v1:0"}
    settings = two_regions(monkeypatch, down, well, **profile)
    sink, opened_s = RecordingSink(), []

    def note(event: Any) -> None:
        sink(event)
        if isinstance(event, BreakerChanged) and event.state == "open":
            opened_s.append(asyncio.get_running_loop().time() - START_S)

    async def scenario() -> list[Any]:
        async with open_service(settings, environ={}, sink=note) as service:
            first = await service.score(samples(64))
            return first + await service.score(samples(64, first=64))

    rewards = run_virtual(scenario())

    assert [reward.reason for reward in rewards] == [None] * 128
    assert {reward.model for reward in rewards} == {"eu.amazon.nova-lite-v1:0"}
    assert opened_s[0] < 2.0
    assert len(down.prompts) <= 64  # the second batch did not try it
    assert len(sink.of(FailedOver)) == 128


def test_a_failover_to_the_same_model_elsewhere_is_told_in_the_events(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The reward names the model, which is the same in both regions; the events name the target."""
    down = Judge(Unavailable("refused"), model="us.amazon.nova-lite-v1:0")
    well = Judge("0.5", model="us.amazon.nova-lite-v1:0")
    settings = two_regions(monkeypatch, down, well, JUDGE_FAILOVER_REGIONS="us-west-2")
    sink = RecordingSink()

    async def scenario() -> list[Any]:
        async with open_service(settings, environ={}, sink=sink) as service:
            return await service.score(samples(1))

    (reward,) = run_virtual(scenario())

    assert reward.model == "us.amazon.nova-lite-v1:0"
    (ended,) = [event for event in sink.of(CallEnded) if event.outcome == "ok"]
    assert "us-west-2" in ended.target


# 23


def test_jumps_of_the_wall_clock_do_not_change_when_calls_go(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> list[float]:
        judge = Judge("0.5", latency_s=0.1)
        async with open_service(limited(), model=judge) as service:
            await service.score(samples(100))
        return judge.began_s

    steady = run_virtual(scenario())
    jumps = random.Random(7)
    monkeypatch.setattr(time, "time", lambda: 1.7e9 + jumps.choice([-600.0, 600.0, 86_400.0]))

    assert run_virtual(scenario()) == steady


# 24


@pytest.mark.parametrize("at_s", [0.05, 1.0, 3.33])
def test_after_a_stall_no_more_than_the_burst_goes_at_once(at_s: float) -> None:
    async def scenario() -> tuple[list[Any], list[float]]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        judge = Judge("0.5", latency_s=0.1)
        async with open_service(limited(), model=judge) as service:
            loop.call_later(at_s, loop.stall, 2.0)
            rewards = await service.score(samples(100))
        return rewards, judge.began_s

    rewards, began_s = run_virtual(scenario())

    assert [reward.reason for reward in rewards] == [None] * 100  # no timeout fired
    for begins in began_s:
        for span_s in (0.01, 1.0, 5.0):
            carried = sum(begins <= one < begins + span_s for one in began_s)
            assert carried <= BURST + PER_S * span_s + 1


def test_a_stall_past_the_deadline_does_not_cost_the_answers_that_were_there() -> None:
    async def scenario() -> list[Any]:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        async with open_service(model=Scripted("0.5", latency_s=0.5)) as service:
            loop.call_later(0.1, loop.stall, 2.0)
            return await service.score(samples(4), deadline_s=1.0)

    assert [reward.reason for reward in run_virtual(scenario())] == [None] * 4


# 26 and 27


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.5, 1.0, 1.05])
def test_a_caller_that_leaves_goes_at_once_and_leaves_nothing_behind(after_s: float) -> None:
    async def scenario() -> tuple[float, GateStatistics, int]:
        loop = asyncio.get_running_loop()
        judge = Judge("0.5", latency_s=0.1)
        async with open_service(limited(), model=judge) as service:
            batch = asyncio.create_task(service.score(samples(100)))
            await asyncio.sleep(after_s)
            batch.cancel()
            began = loop.time()
            await asyncio.wait([batch])
            took_s = loop.time() - began
            await asyncio.sleep(0.2)  # what was on the wire is accounted for until it ends
            return took_s, gate_of(service), len(asyncio.all_tasks())

    took_s, limit, tasks = run_virtual(scenario())

    assert took_s < 0.1
    assert (limit.waiting, limit.in_flight, limit.reserved) == (0, 0, {"requests": 0})
    assert tasks == 1


def test_calls_that_nobody_waits_for_are_ended_before_the_process_is_frozen() -> None:
    async def scenario() -> tuple[int, GateStatistics]:
        async with open_service(limited(), model=Endless("0.5", latency_s=60.0)) as service:
            batch = asyncio.create_task(service.score(samples(3)))
            await asyncio.sleep(0.5)
            batch.cancel()
            await asyncio.wait([batch])
            detached = service._assembly.detached
            left_behind = detached.statistics().abandoned
            await service.rest()
            assert detached.statistics().abandoned == 0
            return left_behind, gate_of(service)

    left_behind, limit = run_virtual(scenario())

    assert left_behind == 3
    assert (limit.in_flight, limit.reserved) == (0, {"requests": 0})
    assert limit.charged == {"requests": 3}  # a judge bills what was sent


def test_calls_that_wait_for_a_slot_hold_no_tokens() -> None:
    async def scenario() -> GateStatistics:
        settings = limited(JUDGE_LIMITS_MAX_IN_FLIGHT="1")
        async with open_service(settings, model=Judge("0.5", latency_s=0.1)) as service:
            batches = [asyncio.create_task(service.score([one])) for one in samples(5)]
            await asyncio.sleep(0.05)
            before = gate_of(service)
            assert (before.waiting, before.in_flight) == (4, 1)
            assert before.level["requests"] >= 4
            for batch in batches:
                batch.cancel()
            await asyncio.wait(batches)
            return gate_of(service)

    limit = run_virtual(scenario())

    assert (limit.waiting, limit.in_flight) == (0, 1)  # the one on the wire goes on
    assert limit.level["requests"] >= 4


@pytest.mark.parametrize("kept", [1, 7, 20])
def test_a_stream_that_is_left_keeps_what_it_gave_and_leaves_nothing_behind(kept: int) -> None:
    async def scenario() -> tuple[list[int], int, int]:
        done: list[int] = []
        judge = Judge("0.5", latency_s=0.1)
        async with open_service(limited(), model=judge) as service:

            async def read() -> None:
                async for key, reward in service.stream(enumerate(samples(100)), window=8):
                    assert reward.score == 0.5
                    done.append(key)
                    if len(done) == kept:
                        batch.cancel()

            batch = asyncio.create_task(read())
            await asyncio.wait([batch])
            await asyncio.sleep(0.2)
            return done, gate_of(service).in_flight, len(asyncio.all_tasks())

    done, in_flight, tasks = run_virtual(scenario())

    assert len(done) == len(set(done))
    assert kept <= len(done) < 100
    assert (in_flight, tasks) == (0, 1)


# 43


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        (
            {
                "JUDGE_BACKEND": "bedrock",
                "JUDGE_MODEL": "m",
                "JUDGE_LIMITS_STORE": "redis",
                "JUDGE_LIMITS_STORE_URL": "redis://h",
            },
            "no quota is set",
        ),
        ({"JUDGE_RUBRIC": "no-such-rubric.toml"}, "no-such-rubric.toml"),
        (
            {
                "JUDGE_BACKEND": "bedrock",
                "JUDGE_MODEL": "us.amazon.nova-lite-v1:0",
                "JUDGE_FAILOVER_MODELS": "amazon.nova-pro-v1:0",
            },
            "is another model",
        ),
    ],
)
async def test_what_cannot_work_is_refused_at_the_start_in_one_line(
    variables: dict[str, str], says: str
) -> None:
    with pytest.raises(SettingsError, match=says) as caught:
        async with open_service(load_settings(None, variables), environ={}):
            pass

    assert "\n" not in str(caught.value)


# 44


class Pairs(Judge):
    """Quick, until a question takes 1 s and its second copy answers in the same moment."""

    async def __call__(self, request: Any) -> Any:
        slow = int(request.body.question.response.split()[-1]) >= 40
        again = sum(one is request.body for one in self.prompts)
        self._latency_s = (0.9 if again else 1.0) if slow else 0.1
        return await super().__call__(request)


def test_of_a_hedged_pair_that_both_answer_one_counts_and_both_are_settled() -> None:
    sink, judge = RecordingSink(), Pairs("0.5")

    async def scenario() -> tuple[list[Any], GateStatistics]:
        hedge = {"JUDGE_HEDGE_ENABLED": "true", "JUDGE_HEDGE_BUDGET": "0.05"}
        settings = limited(JUDGE_BACKEND="bedrock", JUDGE_MODEL="m", **hedge)
        async with open_service(settings, model=judge, sink=sink) as service:
            rewards = []
            for number in range(50):
                rewards += await service.score(samples(1, first=number))
            await asyncio.sleep(2)
            return rewards, gate_of(service)

    rewards, limit = run_virtual(scenario())

    assert [reward.score for reward in rewards] == [0.5] * 50
    assert [reward.usage.calls for reward in rewards] == [1] * 50
    copies = len(judge.prompts) - 50
    assert 1 <= copies <= 0.05 * 50
    assert len(sink.of(Hedged)) == copies
    assert (limit.in_flight, limit.granted) == (0, 50 + copies)
