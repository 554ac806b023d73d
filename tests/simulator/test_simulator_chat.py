import json
from typing import Any

import pytest

from judge_service.simulator import SimulatorConfig, simulate
from tests.simulator.raw_client import connect

PATH = "/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"score": {"type": "integer", "enum": [3]}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": SCHEMA}}
FUNCTION = {"type": "function", "function": {"name": "verdict", "parameters": SCHEMA}}


def chat(**members: Any) -> dict[str, Any]:
    messages = [{"role": "system", "content": "Judge."}, {"role": "user", "content": "Good?"}]
    return {"model": "m", "messages": messages, "max_tokens": 50, **members}


async def test_a_text_call_is_answered_with_a_number() -> None:
    pieces = [{"role": "user", "content": [{"type": "text", "text": "Good?"}]}]
    async with simulate() as simulator, connect(simulator) as client:
        reply = (await client.ask(chat(), PATH)).json
        again = (await client.ask(chat(messages=pieces), PATH)).json

    assert 0 <= float(reply["choices"][0]["message"]["content"]) <= 1
    assert reply["choices"][0]["finish_reason"] == "stop"
    assert reply["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert again["usage"]["prompt_tokens"] == 2


async def test_schema_and_tool_calls_are_answered_in_their_form() -> None:
    choice = {"type": "function", "function": {"name": "verdict"}}
    async with simulate() as simulator, connect(simulator) as client:
        structured = (await client.ask(chat(response_format=FORMAT), PATH)).json["choices"][0]
        called = await client.ask(chat(tools=[FUNCTION], tool_choice=choice), PATH)

    assert json.loads(structured["message"]["content"]) == {"score": 3}
    (call,) = called.json["choices"][0]["message"]["tool_calls"]
    assert call["function"] == {"name": "verdict", "arguments": '{"score":3}'}
    assert called.json["choices"][0]["finish_reason"] == "tool_calls"


async def test_quota_and_faults_are_the_same_in_this_dialect() -> None:
    config = SimulatorConfig(requests_per_minute=2, burst_s=60, faults=("unavailable",))
    async with simulate(config) as simulator, connect(simulator) as client:
        statuses = [(await client.ask(chat(), PATH)).status for _ in range(3)]
        error = (await client.ask(chat(), PATH)).json["error"]

    assert statuses == [503, 200, 429]
    assert error["message"] == "Too many requests, please wait before trying again."


@pytest.mark.parametrize(
    ("fault", "finish_reason"),
    [("max_tokens", "length"), ("guardrail", "content_filter"), ("reasoning_only", "stop")],
)
async def test_stop_reasons_are_translated(fault: Any, finish_reason: str) -> None:
    async with (
        simulate(SimulatorConfig(faults=(fault,))) as simulator,
        connect(simulator) as client,
    ):
        assert (await client.ask(chat(), PATH)).json["choices"][0]["finish_reason"] == finish_reason


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"model": "m"}, "messages"),
        (chat(stream=True), "without streaming"),
        (chat(n=2), "one choice"),
        (chat(tools=[FUNCTION], tool_choice={"function": {"name": "other"}}), "not in tools"),
    ],
)
async def test_what_it_cannot_do_is_refused(body: Any, problem: str) -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask(body, PATH)

    assert reply.status == 400
    assert problem in reply.json["error"]["message"]


async def test_the_key_is_demanded_when_there_is_one() -> None:
    config = SimulatorConfig(bearer_token="s3cret")
    async with simulate(config) as simulator, connect(simulator) as client:
        assert (await client.ask(chat(), PATH)).status == 401
        assert (await client.ask(chat(), PATH, authorization="Bearer other")).status == 401
        assert (await client.ask(chat(), PATH, authorization="Bearer s3cret")).status == 200


async def test_a_model_can_refuse_schemas_and_tools_here_too() -> None:
    config = SimulatorConfig(refuses_schema=True, refuses_tool=True)
    async with simulate(config) as simulator, connect(simulator) as client:
        structured = await client.ask(chat(response_format=FORMAT), PATH)
        called = await client.ask(chat(tools=[FUNCTION], tool_choice="required"), PATH)

    assert structured.status == called.status == 400
