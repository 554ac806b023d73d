"""The whole stack through the service, with doubles and with the simulator."""

import asyncio
from typing import Any

import pytest

from judge_service.backends.scripted import Scripted
from judge_service.errors import TooManyUnscored, Unavailable, WireError
from judge_service.service import JudgeService, open_service
from judge_service.settings import load_settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.telemetry.events import SampleGraded
from judge_service.testing import RecordingSink, run_virtual
from judge_service.values import Sample


def sample(number: int, *, group: str = "g") -> Sample:
    return Sample(id=number, response=f"answer {number}", reference="gold", group_key=group)


def wire_row(number: int) -> dict[str, Any]:
    return {
        "id": number,
        "messages": [
            {"role": "user", "content": "What?"},
            {"role": "assistant", "content": f"answer {number}"},
        ],
        "reference_answer": "gold",
    }


class LateFirst(Scripted):
    """Answers the first sample last."""

    async def __call__(self, request: Any) -> Any:
        await asyncio.sleep(10 - int(request.body.question.response[-1]))
        return await super().__call__(request)


def test_rewards_come_in_order_whatever_the_order_of_the_answers() -> None:
    async def scenario() -> list[Any]:
        model = LateFirst(lambda prompt: f"0.{prompt.question.response[-1]}")
        async with open_service(model=model) as judge:
            return await judge.score([sample(n) for n in range(1, 10)])

    assert [reward.score for reward in run_virtual(scenario())] == [n / 10 for n in range(1, 10)]


def test_at_the_deadline_every_sample_has_a_reward_and_the_late_ones_say_why() -> None:
    async def scenario() -> list[Any]:
        async with open_service(model=Scripted("0.5", latency_s=10.0)) as judge:
            return await judge.score([sample(1), sample(2)], deadline_s=1.0)

    rewards = run_virtual(scenario())

    assert [(reward.score, reward.reason) for reward in rewards] == [(None, "deadline")] * 2


def test_a_batch_larger_than_the_window_is_scored_whole() -> None:
    async def scenario() -> list[Any]:
        settings = load_settings(None, {"JUDGE_LIMITS_MAX_IN_FLIGHT": "2"})
        async with open_service(settings, model=Scripted("0.5", latency_s=1.0)) as judge:
            return await judge.score([sample(n) for n in range(50)])

    assert [reward.score for reward in run_virtual(scenario())] == [0.5] * 50


def test_equal_samples_cost_one_call_and_each_gets_an_answer() -> None:
    model = Scripted("0.5", latency_s=0.1)

    async def scenario() -> list[Any]:
        async with open_service(model=model) as judge:
            return await judge.score([sample(1)] * 8)

    assert len(run_virtual(scenario())) == 8
    assert len(model.prompts) == 1


def test_streaming_holds_no_more_than_the_window() -> None:
    taken: list[int] = []

    def jobs() -> Any:
        for number in range(100):
            taken.append(number)
            yield number, sample(number)

    async def scenario() -> int:
        most = 0
        async with open_service(model=Scripted("0.5", latency_s=0.1)) as judge:
            given = 0
            async for _ in judge.stream(jobs(), window=4):
                given += 1
                most = max(most, len(taken) - given)
        return most

    assert run_virtual(scenario()) <= 2 * 4
    assert len(taken) == 100


def test_an_error_of_the_source_reaches_the_reader_and_stops_the_work() -> None:
    def jobs() -> Any:
        yield 1, sample(1)
        raise ValueError("the file is gone")

    async def scenario() -> None:
        async with open_service(model=Scripted("0.5")) as judge:
            async for _ in judge.stream(jobs(), window=2):
                pass

    with pytest.raises(ValueError, match="the file is gone"):
        run_virtual(scenario())


@pytest.mark.parametrize("after_s", [0.0, 0.05, 0.1, 0.15, 0.5])
def test_cancelling_a_batch_leaves_nothing_behind(after_s: float) -> None:
    async def scenario() -> tuple[JudgeService, int]:
        async with open_service(model=Scripted("0.5", latency_s=0.1)) as judge:
            task = asyncio.create_task(judge.score([sample(n) for n in range(20)]))
            await asyncio.sleep(after_s)
            task.cancel()
            await asyncio.wait([task])
        return judge, len(asyncio.all_tasks()) - 1

    judge, tasks = run_virtual(scenario())

    assert tasks == 0
    held = [
        layer.statistics()
        for layer in judge._assembly.targets[0].layers
        if hasattr(layer, "statistics")
    ]
    assert all(getattr(one, "in_flight", 0) == 0 for one in held)


async def test_an_event_is_answered_in_the_callers_form() -> None:
    async with open_service(model=Scripted("0.5")) as judge:
        as_list = await judge.answer([wire_row(1)])
        as_http = await judge.answer({"body": {"batch": [wire_row(1)]}})

    assert as_list[0]["aggregate_reward_score"] == 0.5
    assert as_http["statusCode"] == 200


async def test_an_event_that_is_no_batch_is_refused() -> None:
    async with open_service(model=Scripted("0.5")) as judge:
        with pytest.raises(WireError):
            await judge.answer("nonsense")


async def test_a_failed_sibling_gets_the_mean_of_its_group() -> None:
    def answers(prompt: Any) -> Any:
        return "no number" if prompt.question.response == "answer 1" else "0.9"

    async with open_service(model=Scripted(answers)) as judge:
        reply = await judge.answer([wire_row(n) for n in range(4)])

    assert [item["aggregate_reward_score"] for item in reply] == [0.9] * 4
    assert reply[1]["unscored_reason"] == "unparseable"
    assert [item["metrics_list"][-1]["value"] for item in reply] == [0, 1, 0, 0]


def test_a_judge_that_is_down_fails_the_batch_with_one_sentence() -> None:
    async def scenario() -> None:
        async with open_service(model=Scripted(Unavailable("nobody listens"))) as judge:
            await judge.answer([wire_row(1), wire_row(2)])

    with pytest.raises(TooManyUnscored, match=r"2 of 2 rows could not be judged.*nobody listens"):
        run_virtual(scenario())


def test_an_unusable_answer_is_not_cached() -> None:
    model = Scripted(["nonsense", "nonsense", "0.5"])

    async def scenario() -> list[Any]:
        async with open_service(model=model) as judge:
            return [(await judge.score([sample(1)]))[0] for _ in range(3)]

    first, second, third = run_virtual(scenario())

    assert first.reason == "unparseable"
    assert (second.score, third.score, third.cached) == (0.5, 0.5, True)


def test_every_sample_is_told_to_the_sink_once() -> None:
    sink = RecordingSink()

    async def scenario() -> None:
        async with open_service(model=Scripted("0.5", latency_s=1.0), sink=sink) as judge:
            await judge.score([sample(n) for n in range(3)])

    run_virtual(scenario())

    assert sorted(event.id for event in sink.of(SampleGraded)) == [0, 1, 2]
    assert {event.duration_s for event in sink.of(SampleGraded)} == {1.0}


FAULTS = SimulatorConfig(
    seed=7, throttle_rate=0.05, error_5xx_rate=0.02, reset_rate=0.01, garbage_rate=0.01
)


def settings_for(url: str, **more: str) -> Any:
    variables = {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "simulated",
        "JUDGE_BEDROCK_REGION": "us-east-1",
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "JUDGE_RETRY_THROTTLED_BASE_S": "0.01",
        **more,
    }
    return load_settings(None, variables)


KEYS = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any"}


async def score_all(config: SimulatorConfig, samples: list[Sample]) -> list[Any]:
    async with (
        simulate(config) as simulator,
        open_service(settings_for(simulator.url), environ=KEYS) as judge,
    ):
        return await judge.score(samples)


async def test_faults_change_no_score_they_only_leave_some_out() -> None:
    samples = [sample(n, group=f"g{n // 4}") for n in range(600)]
    without_faults = await score_all(SimulatorConfig(seed=7), samples)

    with_faults = await score_all(FAULTS, samples)

    assert len(with_faults) == 600
    for clean, reward in zip(without_faults, with_faults, strict=True):
        asked_again = reward.usage.calls > 1  # a re-ask is another prompt, with its own answer here
        assert reward.score == clean.score or asked_again or reward.reason
        assert (reward.score is None) == (reward.reason is not None)
    unscored = [reward.reason for reward in with_faults if reward.score is None]
    assert len(unscored) <= 6, unscored
    assert set(unscored) <= {"throttled", "unavailable", "unparseable"}


async def test_a_four_criterion_rubric_goes_through_every_channel() -> None:
    rows = [sample(n) for n in range(4)]
    for config in (
        SimulatorConfig(),
        SimulatorConfig(refuses_schema=True),
        SimulatorConfig(refuses_schema=True, refuses_tool=True),
    ):
        async with (
            simulate(config) as simulator,
            open_service(
                settings_for(
                    simulator.url,
                    JUDGE_MODEL="us.anthropic.claude-haiku-4-5-20251001-v1:0",
                    JUDGE_RUBRIC="examples/rubrics/quality.toml",
                ),
                environ=KEYS,
            ) as judge,
        ):
            rewards = await judge.score(rows)

        assert [reward.reason for reward in rewards] == [None] * 4, config
        assert [part.name for part in rewards[0].parts] == [
            "correctness",
            "safety",
            "format",
            "conciseness",
        ]


def test_an_interactive_batch_overtakes_a_bulk_one_that_came_before() -> None:
    ended: list[str] = []

    async def scenario() -> None:
        settings = load_settings(None, {"JUDGE_LIMITS_REQUESTS_PER_MINUTE": "60"})
        async with open_service(settings, model=Scripted("0.5")) as judge:

            async def score(lane: Any, first: int) -> None:
                rows = [sample(n) for n in range(first, first + 20)]
                await judge.score(rows, lane=lane, deadline_s=1000)
                ended.append(lane)

            bulk = asyncio.create_task(score("bulk", 0))
            await asyncio.sleep(0.1)
            await asyncio.gather(bulk, score("interactive", 100))

    run_virtual(scenario())

    assert ended == ["interactive", "bulk"]
