"""The Lambda handler: under the real runtime client, in a notebook, and with `context = {}`."""

import asyncio
import json
import math
import threading
from typing import Any

import pytest

from judge_service.errors import SettingsError, TooManyUnscored, WireError
from judge_service.settings import Settings, load_settings
from judge_service.simulator import SimulatorConfig, simulate
from lambda_adapter import handler
from lambda_adapter.handler import Environment
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
    return Environment(lambda: load_settings(None, variables))


async def test_it_works_where_a_loop_runs_already_as_in_a_notebook() -> None:
    environment = Environment(Settings)
    try:
        reply = await asyncio.to_thread(environment.answer, [row(1)], None)
    finally:
        await asyncio.to_thread(environment.close)

    assert_valid([row(1)], reply)


def test_it_works_with_an_empty_context() -> None:
    try:
        reply = handler.lambda_handler([row(1)], {})
    finally:
        handler.ENVIRONMENT.close()

    assert_valid([row(1)], reply)


def test_several_invocations_in_one_environment_share_one_judge() -> None:
    environment = Environment(Settings)
    replies: list[Any] = []
    threads = [
        threading.Thread(target=lambda: replies.append(environment.answer([row(1)], None)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    environment.close()

    assert len(replies) == 8
    assert all(reply == replies[0] for reply in replies)


def test_a_mistake_in_the_settings_is_told_at_every_invocation_until_it_is_mended() -> None:
    variables = {"JUDGE_MODLE": "x"}
    environment = Environment(lambda: load_settings(None, variables))
    for _ in range(2):
        with pytest.raises(SettingsError, match="did you mean `JUDGE_MODEL`"):
            environment.answer([row(1)], None)
    variables.clear()

    reply = environment.answer([row(1)], None)
    environment.close()

    assert_valid([row(1)], reply)


def test_a_batch_of_which_too_much_is_unscored_fails_as_a_whole() -> None:
    environment = environment_of(
        JUDGE_BACKEND="openai", JUDGE_MODEL="m", JUDGE_OPENAI_BASE_URL="http://127.0.0.1:9/v1"
    )
    try:
        with pytest.raises(TooManyUnscored):
            environment.answer([row(1)], None)
    finally:
        environment.close()


def test_at_the_deadline_the_batch_is_answered_and_not_killed() -> None:
    environment = environment_of(JUDGE_UNSCORED_MAX_FRACTION="1")
    try:
        reply = environment.answer([row(1)], 0.0)
    finally:
        environment.close()

    assert reply[0]["unscored_reason"] == "deadline"
    assert math.isfinite(reply[0]["aggregate_reward_score"])


def test_an_event_that_is_no_batch_raises_for_a_list_caller() -> None:
    with pytest.raises(WireError):
        handler.lambda_handler("nonsense", None)
    handler.ENVIRONMENT.close()
