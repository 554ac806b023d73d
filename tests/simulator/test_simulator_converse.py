import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.simulator import SimulatorConfig, converse, simulate
from judge_service.simulator.answers import SchemaError, instance
from judge_service.simulator.faults import ApiError
from tests.simulator.raw_client import asking, connect, with_schema, with_tool

OPEN_OBJECT = {"type": "object", "properties": {}}
JSON = st.recursive(
    st.none() | st.booleans() | st.text() | st.integers() | st.floats(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
SCHEMA_KEYS = [
    "type",
    "properties",
    "items",
    "enum",
    "anyOf",
    "minItems",
    "minimum",
    "maximum",
    "description",
]
BOUNDED = {"type": "number", "minimum": 0}


async def refused(config: SimulatorConfig, body: Any) -> str:
    async with simulate(config) as simulator, connect(simulator) as client:
        reply = await client.ask(body)
        assert reply.status == 400
        assert reply.headers["x-amzn-errortype"].startswith("validationexception:http")
        assert simulator.statistics().by_status == {400: 1}
        return str(reply.json["message"])


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"{", "Input data was truncated"),
        (b"[" * 100_000, "object"),
        (b'{"messages":[], "x":' + b"[" * 100_000, "recursion"),
        (b'{"messages":"\xff"}', "array"),
        ({}, "missing required field `messages`"),
        ({"messages": []}, "must start with a user message"),
        ({"messages": [{"role": "assistant", "content": [{"text": "x"}]}]}, "user message"),
        ({"messages": [{"role": "robot", "content": []}]}, "Invalid enum value 'robot'"),
        ({"messages": [{"role": "user", "content": "plain"}]}, "array"),
        (asking(" \n"), "messages.0.content.0 is blank"),
        (asking(inferenceConfig={"maxTokens": 0}), ">= 1"),
        (asking(inferenceConfig={"temperature": 1.5}), "<= 1"),
        (asking(**with_schema(OPEN_OBJECT)), "'additionalProperties' must be explicitly"),
        (asking(**with_schema(BOUNDED)), "property 'minimum' is not supported"),
        (asking(**with_schema({"type": "array", "items": BOUNDED})), "'minimum'"),
        (asking(**with_tool(OPEN_OBJECT, strict=True)), "additionalProperties"),
        (asking(toolConfig={"tools": [], "toolChoice": {"tool": {"name": "x"}}}), "toolChoice"),
        (asking(**with_schema({"type": "strange"})), "'strange' is not supported"),
    ],
)
async def test_invalid_requests_are_refused_with_what_is_wrong(body: Any, problem: str) -> None:
    assert problem in await refused(SimulatorConfig(), body)


async def test_a_prompt_beyond_the_context_is_refused() -> None:
    message = await refused(SimulatorConfig(max_input_tokens=10), asking("x" * 41))

    assert message == "Input is too long for requested model."


async def test_a_model_can_refuse_structured_output_and_forced_tools() -> None:
    closed = {**OPEN_OBJECT, "additionalProperties": False}
    no_schema = SimulatorConfig(refuses_schema=True)
    no_tool = SimulatorConfig(refuses_tool=True)

    assert "outputConfig.textFormat" in await refused(no_schema, asking(**with_schema(closed)))
    assert "toolConfig.toolChoice.tool" in await refused(no_tool, asking(**with_tool(closed)))


async def test_what_the_simulator_does_not_read_is_ignored() -> None:
    body = asking(
        system=[{"text": "Be fair."}, {"cachePoint": {"type": "default"}}],
        additionalModelRequestFields={"top_k": 5},
        serviceTier={"type": "flex"},
    )
    async with simulate() as simulator, connect(simulator) as client:
        assert (await client.ask(body)).status == 200


async def test_usage_is_counted_from_characters() -> None:
    config = SimulatorConfig(chars_per_token=2.0)
    async with simulate(config) as simulator, connect(simulator) as client:
        usage = (await client.ask(asking("12345678", system=[{"text": "123"}]))).json["usage"]

    assert usage["inputTokens"] == 6  # 8 + 3 characters and the line break between them
    assert usage["outputTokens"] == 2
    assert usage["totalTokens"] == 8


async def test_more_models_than_the_bound_are_unknown() -> None:
    async with simulate(SimulatorConfig(max_models=1)) as simulator, connect(simulator) as client:
        assert (await client.ask(asking())).status == 200
        assert (await client.ask(asking(), "/model/other/converse")).status == 404


@given(
    st.binary() | JSON.map(lambda v: json.dumps({"messages": v, "system": v, "tools": v}).encode())
)
def test_any_body_is_a_question_or_a_refusal(body: bytes) -> None:
    with suppress(ApiError):
        converse.read(body, "m")


@given(JSON.flatmap(lambda value: st.sampled_from(SCHEMA_KEYS).map(lambda key: {key: value})))
def test_any_schema_is_answered_or_refused(schema: dict[str, Any]) -> None:
    with suppress(SchemaError):
        instance({"type": "array", "items": schema}, 1)
    with suppress(SchemaError):
        instance({"type": "integer", **schema}, 1)
    with suppress(ApiError):
        converse.check_subset(schema)


def test_the_simulator_imports_nothing_of_ours() -> None:
    folder = Path(converse.__file__).parent
    lines = [line for path in folder.glob("*.py") for line in path.read_text().splitlines()]
    ours = [
        line for line in lines if line.startswith(("from judge_service", "import judge_service"))
    ]

    assert ours
    assert all(line.startswith("from judge_service.simulator") for line in ours)
