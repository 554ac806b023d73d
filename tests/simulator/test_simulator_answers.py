import itertools
import json
import statistics
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.answers import (
    SchemaError,
    digest_prompt,
    instance,
    unit,
    without_hex_runs,
)
from judge_service.simulator.requested_form import requested_schema
from tests.simulator.raw_client import asking, connect, with_schema, with_tool

VERDICT = {
    "type": "object",
    "properties": {
        "reason": {"type": "string"},
        "correctness": {"type": "integer", "enum": [0, 1, 2, 3, 4]},
        "safety": {"type": "number"},
        "done": {"type": "boolean"},
    },
    "required": ["reason", "correctness", "safety", "done"],
    "additionalProperties": False,
}


def assert_is_verdict(verdict: dict[str, Any]) -> None:
    assert list(verdict) == ["reason", "correctness", "safety", "done"]
    assert verdict["correctness"] in range(5)
    assert 0 <= verdict["safety"] <= 1
    assert isinstance(verdict["done"], bool)


async def test_a_text_call_is_answered_with_a_number() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask(asking())

    assert 0 <= float(reply.text) <= 1
    assert len(reply.text) == 4
    assert reply.json["stopReason"] == "end_turn"


async def test_a_schema_call_is_answered_with_an_instance_in_the_schemas_order() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask(asking(**with_schema(VERDICT)))

    assert_is_verdict(json.loads(reply.text))


async def test_a_forced_tool_is_used_with_valid_input() -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask(asking(**with_tool(VERDICT)))

    (block,) = reply.json["output"]["message"]["content"]
    assert block["toolUse"]["name"] == "verdict"
    assert_is_verdict(block["toolUse"]["input"])
    assert reply.json["stopReason"] == "tool_use"


async def test_a_tool_that_is_only_offered_is_not_used() -> None:
    body = asking(**with_tool(VERDICT))
    body["toolConfig"]["toolChoice"] = {"auto": {}}
    async with simulate() as simulator, connect(simulator) as client:
        assert 0 <= float((await client.ask(body)).text) <= 1


async def test_the_answers_can_be_a_function_of_the_prompt() -> None:
    config = SimulatorConfig(text_answer=lambda prompt, score: f"{prompt} {0 <= score < 1}")
    async with simulate(config) as simulator, connect(simulator) as client:
        assert (await client.ask(asking("seen"))).text == "seen True"


async def test_a_prompts_answer_depends_neither_on_the_order_nor_on_the_fences_nonce() -> None:
    prompts = [f"prompt {n}" for n in range(10)]

    async def answers(order: list[str], nonce: str) -> dict[str, str]:
        async with simulate(SimulatorConfig(seed=5)) as simulator, connect(simulator) as client:
            return {p: (await client.ask(asking(f"<r {nonce}>{p}</r>"))).text for p in order}

    first = await answers(prompts, "3fa9c0d1e2f3a4b5")
    second = await answers(prompts[::-1], "00112233445566778899aabbccddeeff")

    assert first == second
    assert len(set(first.values())) > 5


def test_scores_are_spread_over_the_range_and_differ_by_seed() -> None:
    scores = [unit(digest_prompt(f"prompt {n}", 0)) for n in range(2000)]
    others = [unit(digest_prompt(f"prompt {n}", 1)) for n in range(2000)]

    assert [round(d, 1) for d in statistics.quantiles(scores, n=10)] == [
        pytest.approx(n / 10, abs=0.05) for n in range(1, 10)
    ]
    assert abs(statistics.correlation(scores, others)) < 0.1


@given(st.lists(st.sampled_from(["ab", "xyz", "0123456789abcdef", "FEDCBA98", " ", "é"])))
def test_exactly_the_hexadecimal_runs_of_sixteen_and_more_are_taken_out(parts: list[str]) -> None:
    text = "".join(parts)
    is_hex = "0123456789abcdefABCDEF".__contains__
    runs = ["".join(run) for _, run in itertools.groupby(text, key=is_hex)]
    expected = "".join(run for run in runs if not (is_hex(run[0]) and len(run) >= 16))

    assert without_hex_runs(text.encode()) == expected.encode()


@pytest.mark.parametrize(
    ("schema", "low", "high"),
    [
        ({"type": "number", "minimum": -3, "maximum": -2}, -3, -2),
        ({"type": "integer", "minimum": 1, "maximum": 5}, 1, 5),
        ({"type": "integer", "description": "from 2 to 4"}, 2, 4),
        ({"type": "number", "description": "between 0.5 and 0.75"}, 0.5, 0.75),
        ({"type": ["integer", "null"]}, 0, 1),
        ({"anyOf": [{"const": 7}, {"type": "null"}]}, 7, 7),
    ],
)
def test_numbers_stay_in_their_bounds_and_reach_them(
    schema: dict[str, Any], low: float, high: float
) -> None:
    made = [instance(schema, digest_prompt(f"{n}", 0)) for n in range(500)]

    assert low <= min(made) <= low + 0.05 * (high - low)
    assert high - 0.05 * (high - low) <= max(made) <= high


def test_nested_schemas_are_answered_and_endless_ones_refused() -> None:
    schema = {"type": "object", "properties": {"all": {"type": "array", "items": {"type": "null"}}}}
    endless: dict[str, Any] = {"type": "array"}
    endless["items"] = endless

    assert instance(schema, 1) == {"all": [None]}
    with pytest.raises(SchemaError, match="too deep"):
        instance(endless, 1)
    with pytest.raises(SchemaError, match="'complex' is not supported"):
        instance({"type": "complex"}, 1)


async def test_an_answer_longer_than_its_maximum_is_cut() -> None:
    body = asking(**with_schema(VERDICT), inferenceConfig={"maxTokens": 3})
    tool = asking(**with_tool(VERDICT), inferenceConfig={"maxTokens": 3})
    async with simulate() as simulator, connect(simulator) as client:
        cut, cut_tool = await client.ask(body), await client.ask(tool)

    assert cut.json["stopReason"] == cut_tool.json["stopReason"] == "max_tokens"
    assert len(cut.text) == 12
    assert cut.json["usage"]["outputTokens"] == 3
    assert cut_tool.json["output"]["message"]["content"][0]["toolUse"]["input"] == {}


def test_a_prompt_in_words_is_read_for_the_shape_and_scales_it_asks_for() -> None:
    prompt = (
        '{"decoy": ...}\n- safety (between 0.0 and 4.0): harmless?\n'
        '- format (one of 1, 2, 3): as told?\nOutput ONLY one line of JSON: {"safety": ..., "format": ...}.'
    )
    made = instance(requested_schema(prompt), 1)

    assert list(made) == ["safety", "format"]
    assert requested_schema(prompt)["properties"]["format"] == {"enum": [1, 2, 3]}
    assert max(instance(requested_schema(prompt), n)["safety"] for n in range(50)) > 1
    assert requested_schema("Output ONLY a number one of 0.5, 1. No more.") == {"enum": [0.5, 1]}
    assert requested_schema("one of ..., really") == {
        "type": "number",
        "description": "one of ..., really",
    }
