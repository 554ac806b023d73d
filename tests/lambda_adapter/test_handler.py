"""The Lambda handler: under the real runtime client, in a notebook, and with `context = {}`."""

import asyncio
import json
import math
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from judge_service.errors import (
    DeadlineExceeded,
    RubricError,
    SettingsError,
    TooManyUnscored,
    WireError,
)
from judge_service.settings import Settings
from judge_service.simulator import SimulatorConfig, simulate
from lambda_adapter import handler
from lambda_adapter.environment import Environment, Invocation
from tests.lambda_adapter.runtime_api import function
from tests.lambda_adapter.validator import EVENTS, assert_valid


def row(position: int, **more: Any) -> dict[str, Any]:
    return {
        "id": f"row-{position}",
        "messages": [
            {"role": "user", "content": f"What is {position} + {position}?"},
            {"role": "assistant", "content": f"It is {2 * position}."},
        ],
        "reference_answer": {"text": str(2 * position)},
        **more,
    }


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_answered_by_the_real_runtime_client(name: str, real: Any) -> None:
    kind, reply = real.invoke(EVENTS[name])

    assert kind == "response", reply
    assert_valid(EVENTS[name], reply)


def test_an_event_that_is_no_batch_is_one_clear_error(real: Any) -> None:
    kind, reply = real.invoke([{"id": 1, "messages": 7}])

    assert kind == "error"
    assert reply["errorMessage"].startswith("$[0].messages: ")


def test_the_same_in_http_form_is_a_400(real: Any) -> None:
    kind, reply = real.invoke({"body": json.dumps([{"id": 1, "messages": 7}])})

    assert kind == "response"
    assert reply["statusCode"] == 400
    assert "messages" in json.loads(reply["body"])["error"]


@pytest.fixture(scope="module")
def real() -> Any:
    with function() as api:
        yield api


async def test_bedrock_is_called_without_boto_and_on_one_loop() -> None:
    async with simulate(SimulatorConfig()) as simulator:
        environment = {
            "JUDGE_BACKEND": "bedrock",
            "JUDGE_MODEL": "us.amazon.nova-lite-v1:0",
            "JUDGE_BEDROCK_ENDPOINT_URL": simulator.url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

        def invoke_thrice() -> list[tuple[str, Any]]:
            with function(**environment) as api:
                return [api.invoke([row(n), row(n + 1)]) for n in (1, 11, 21)]

        answers = await asyncio.to_thread(invoke_thrice)

    for kind, reply in answers:
        assert kind == "response", reply
        assert [item["metrics_list"][-1]["value"] for item in reply] == [0, 0]  # none unscored


def environment_of(**variables: str) -> Environment:
    return Environment(environ=variables)


@pytest.fixture
def open_environment(tmp_path: Path) -> Iterator[Callable[..., Environment]]:
    """Makes environments of variables, with a grader that costs nothing, and closes them."""
    (grader := tmp_path / "half.py").write_text("def grade(sample):\n    return 0.5\n")
    made: list[Environment] = []

    def make(**variables: str) -> Environment:
        made.append(environment_of(**({"JUDGE_GRADER": f"{grader}:grade"} | variables)))
        return made[-1]

    yield make
    for environment in made:
        environment.close()


Make = Callable[..., Environment]


async def test_it_works_where_a_loop_runs_already_as_in_a_notebook() -> None:
    environment = Environment(Settings)
    try:
        reply = await asyncio.to_thread(environment.answer, [row(1)])
    finally:
        await asyncio.to_thread(environment.close)

    assert_valid([row(1)], reply)


@pytest.mark.parametrize("context", [{}, None, object()])
def test_it_works_with_any_context(context: Any) -> None:
    assert_valid([row(1)], handler.lambda_handler([row(1)], context))


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_is_answered_without_a_runtime(name: str) -> None:
    """As AWS's local pre-flight does: a call with the event and an empty dictionary."""
    assert_valid(EVENTS[name], handler.lambda_handler(EVENTS[name], {}))


@pytest.fixture(scope="module", autouse=True)
def _close() -> Iterator[None]:
    yield
    handler.ENVIRONMENT.close()


def test_several_invocations_in_one_environment_share_one_judge(open_environment: Make) -> None:
    environment = open_environment()
    with ThreadPoolExecutor(8) as threads:
        replies = list(threads.map(lambda _: environment.answer([row(1)]), range(64)))

    assert all(reply == replies[0] for reply in replies)
    assert environment._renewal is not None
    assert environment._renewal.statistics().opened == 1


def test_a_mistake_in_the_settings_is_told_at_every_invocation_until_it_is_mended() -> None:
    variables = {"JUDGE_MODLE": "x"}
    environment = Environment(environ=variables)
    for _ in range(2):
        with pytest.raises(SettingsError, match="did you mean `JUDGE_MODEL`"):
            environment.answer([row(1)])
    variables.clear()

    reply = environment.answer([row(1)])
    environment.close()

    assert_valid([row(1)], reply)


def test_a_batch_of_which_too_much_is_unscored_fails_as_a_whole(open_environment: Make) -> None:
    environment = open_environment(
        JUDGE_GRADER="",
        JUDGE_BACKEND="openai",
        JUDGE_MODEL="m",
        JUDGE_OPENAI_BASE_URL="http://127.0.0.1:9/v1",
    )

    with pytest.raises(TooManyUnscored):
        environment.answer([row(1)])


def test_an_event_that_is_no_batch_raises_for_a_list_caller() -> None:
    with pytest.raises(WireError):
        handler.lambda_handler("nonsense", None)


def test_an_environment_can_be_used_again_after_it_was_closed(open_environment: Make) -> None:
    environment = open_environment()
    for _ in range(2):
        assert_valid([row(1)], environment.answer([row(1)]))
        environment.close()
        environment.close()


# The deadline


async def late_batch(late: int, timely: int, remaining_s: float, **variables: str) -> Any:
    """A batch against the simulator, in which the first `late` rows are not answered in time."""
    async with simulate(SimulatorConfig(latency_median_s=0.01)) as simulator:
        environment = environment_of(
            JUDGE_BACKEND="bedrock",
            JUDGE_MODEL="us.amazon.nova-lite-v1:0",
            JUDGE_BEDROCK_ENDPOINT_URL=simulator.url,
            JUDGE_LIMITS_REQUESTS_PER_MINUTE=str(120 * timely),  # the burst lets `timely` go
            JUDGE_FUNCTION_MARGIN_S="0.2",
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
            AWS_SECRET_ACCESS_KEY="secret",
            **variables,
        )
        event = [row(n) for n in range(late + timely)]
        invocation = Invocation(ends_at_s=time.monotonic() + remaining_s)
        try:
            return await asyncio.to_thread(environment.answer, event, invocation)
        finally:
            await asyncio.to_thread(environment.close)


async def test_at_the_margin_finished_rewards_are_returned_and_the_rest_follow_the_policy() -> None:
    began_s = time.monotonic()
    reply = await late_batch(32, 4, 1.0)
    took_s = time.monotonic() - began_s

    late = [item for item in reply if item.get("unscored_reason") == "deadline"]
    assert len(reply) == 36
    assert 20 <= len(late) <= 32
    assert all(math.isfinite(item["aggregate_reward_score"]) for item in reply)
    assert took_s < 1.0


async def test_at_the_margin_the_batch_fails_if_the_setting_says_so() -> None:
    with pytest.raises(TooManyUnscored, match=r"`deadline`"):
        await late_batch(32, 4, 1.0, JUDGE_FUNCTION_AT_DEADLINE="fail")


def test_a_batch_of_which_nothing_was_judged_in_time_fails(open_environment: Make) -> None:
    environment = open_environment(JUDGE_GRADER="")
    environment.answer([row(1)])

    with pytest.raises(TooManyUnscored, match="`deadline`"):
        environment.answer([row(2)], Invocation(ends_at_s=time.monotonic() + 0.5))


def test_the_deadline_comes_from_the_context() -> None:
    class Context:
        aws_request_id = "r-1"

        def get_remaining_time_in_millis(self) -> int:
            return 5_000

    invocation = handler.invocation_of(Context())

    assert invocation.ends_at_s == pytest.approx(time.monotonic() + 5, abs=0.1)
    assert invocation.request_id == "r-1"
    assert handler.invocation_of({}) == Invocation()


async def test_a_judge_that_cannot_be_opened_in_time_is_a_clear_error() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(asyncio.Protocol, "127.0.0.1", 0)  # never answers
    port = server.sockets[0].getsockname()[1]
    environment = environment_of(
        JUDGE_CONFIG="s3://bucket/judge.toml",
        AWS_ENDPOINT_URL_S3=f"http://127.0.0.1:{port}",
        AWS_REGION="us-east-1",
        AWS_ACCESS_KEY_ID="AKIDEXAMPLE",
        AWS_SECRET_ACCESS_KEY="secret",
    )
    try:
        with pytest.raises(DeadlineExceeded, match="raise the function's timeout"):
            await asyncio.to_thread(
                environment.answer, [row(1)], Invocation(ends_at_s=time.monotonic() + 0.5)
            )
    finally:
        await asyncio.to_thread(environment.close)
        server.close()


# Limits


def test_an_event_over_the_limit_is_one_clear_error(open_environment: Make) -> None:
    environment = open_environment(JUDGE_WIRE_MAX_EVENT_BYTES="2000")

    with pytest.raises(WireError, match=r"longer than 2,000 bytes; send smaller batches"):
        environment.answer([row(n) for n in range(40)])


def test_a_reply_over_the_limit_sheds_explanations_and_then_is_one_clear_error(
    open_environment: Make,
) -> None:
    environment = open_environment(JUDGE_FUNCTION_MAX_REPLY_BYTES="10000")
    raw = [{"id": n, "messages": [{"role": "user", "content": "?"}]} for n in range(75)]

    assert all("unscored_reason" in item for item in environment.answer(raw[:40]))
    reply = environment.answer(raw)
    assert len(json.dumps(reply)) <= 10_000
    assert [item["id"] for item in reply] == list(range(75))
    assert not any("unscored_reason" in item for item in reply)
    with pytest.raises(WireError, match=r"`function\.max_reply_bytes`"):
        environment.answer([row(n) for n in range(500)])


@pytest.mark.parametrize("name", ["errorMessage", "errorType"])
def test_no_rubric_can_name_a_metric_like_a_crash(
    name: str, open_environment: Make, tmp_path: Path
) -> None:
    rubric = f'name = "r"\n[[criteria]]\nname = "{name}"\ndescription = "?"\n'
    (path := tmp_path / "r.toml").write_text(rubric)

    with pytest.raises(RubricError, match="criteria"):
        open_environment(JUDGE_GRADER="", JUDGE_RUBRIC=str(path)).answer([row(1)])


# Telemetry


def test_each_sample_has_a_line_with_the_ids_of_its_invocation(
    open_environment: Make, capfd: Any
) -> None:
    environment = open_environment(AWS_LAMBDA_FUNCTION_NAME="SageMaker-judge")
    environment.answer([row(1), row(2)], Invocation(request_id="r-1", trace_id="Root=1-2"))
    lines = [json.loads(line) for line in capfd.readouterr().out.splitlines()]

    samples = [line for line in lines if "aggregate_reward_score" in line]
    assert {line["id"] for line in samples} == {"row-1", "row-2"}
    assert {line["function_request_id"] for line in samples} == {"r-1"}
    assert {line["xray_trace_id"] for line in samples} == {"Root=1-2"}
    assert any("_aws" in line for line in lines)
