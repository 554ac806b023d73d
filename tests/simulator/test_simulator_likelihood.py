"""Token probabilities of the simulated model."""

from math import exp
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.likelihood import likelihoods
from tests.simulator.raw_client import connect

PATH = "/v1/chat/completions"
LEVELS = {"type": "object", "properties": {"score": {"enum": [1, 2, 3, 4, 5]}}}
FORMAT = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": LEVELS}}


def chat(prompt: str = "Good?", **members: Any) -> dict[str, Any]:
    return {"model": "m", "messages": [{"role": "user", "content": prompt}], **members}


def probabilities(entry: Any) -> dict[str, float]:
    return {one["token"]: exp(one["logprob"]) for one in entry["top_logprobs"]}


@given(
    st.text(max_size=60) | st.from_regex(r"\{\"a\": ?[0-9]{1,4}\}", fullmatch=True),
    st.integers(0, 2**64 - 1),
)
def test_the_tokens_spell_the_text_and_the_written_one_is_the_likeliest(
    text: str, digest: int
) -> None:
    entries = likelihoods(text, digest, 20)

    assert "".join(entry["token"] for entry in entries) == text
    for entry in entries:
        likely = probabilities(entry)
        assert max(likely, key=likely.__getitem__) == entry["token"]
        assert likely[entry["token"]] == pytest.approx(exp(entry["logprob"]))
        assert sum(likely.values()) == pytest.approx(1)


async def test_they_come_when_asked_for_as_many_as_asked_and_the_same_every_time() -> None:
    asked = chat(response_format=FORMAT, logprobs=True, top_logprobs=4)
    async with simulate() as simulator, connect(simulator) as client:
        replies = [(await client.ask(asked, PATH)).json["choices"][0] for _ in range(2)]
        silent = (await client.ask(chat(response_format=FORMAT), PATH)).json["choices"][0]

    first, again = replies
    content = first["logprobs"]["content"]
    assert first == again
    assert silent["logprobs"] is None
    assert (
        bytes(b for entry in content for b in entry["bytes"]).decode()
        == (first["message"]["content"])
    )
    (number,) = [entry for entry in content if entry["token"].isdigit()]
    assert len(number["top_logprobs"]) == 4


async def test_the_expectation_differs_between_prompts_with_one_answer() -> None:
    def mean(choice: Any) -> tuple[str, float]:
        (entry,) = [one for one in choice["logprobs"]["content"] if one["token"].isdigit()]
        likely = {int(t): p for t, p in probabilities(entry).items() if t in "12345"}
        return entry["token"], sum(t * p for t, p in likely.items()) / sum(likely.values())

    asked = [
        chat(f"sample {n}", response_format=FORMAT, logprobs=True, top_logprobs=20)
        for n in range(40)
    ]
    async with simulate() as simulator, connect(simulator) as client:
        means = [mean((await client.ask(body, PATH)).json["choices"][0]) for body in asked]

    threes = [expected for token, expected in means if token == "3"]
    assert len(set(threes)) == len(threes) > 2
    assert all(2.3 < expected < 3.7 for expected in threes)


@pytest.mark.parametrize("members", [{"top_logprobs": 3}, {"logprobs": True, "top_logprobs": 21}])
async def test_wishes_that_openai_refuses_are_refused(members: Any) -> None:
    async with simulate() as simulator, connect(simulator) as client:
        reply = await client.ask(chat(**members), PATH)

    assert reply.status == 400


async def test_a_model_can_refuse_to_tell() -> None:
    config = SimulatorConfig(refuses_logprobs=True)
    async with simulate(config) as simulator, connect(simulator) as client:
        refused = await client.ask(chat(logprobs=True, top_logprobs=5), PATH)
        answered = await client.ask(chat(), PATH)

    assert (refused.status, answered.status) == (400, 200)
    assert "logprobs" in refused.json["error"]["message"]
