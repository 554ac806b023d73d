"""Prompts about several things get one entry for each, as packs and ranks ask for them."""

import json
import re
from typing import Any

import pytest

from judge_service import Message, Sample, open_service
from judge_service.backends.scripted import Scripted
from judge_service.settings import Settings
from judge_service.simulator.answers import Question
from judge_service.simulator.config import SimulatorConfig
from judge_service.simulator.judge import judge
from judge_service.values import Prompt, Ranking


def simulated(prompt: Prompt) -> Any:
    question = Question(
        model="judge",
        prompt="\n".join(message.content for message in prompt.messages),
        max_output_tokens=prompt.max_output_tokens,
        channel=prompt.channel,
        tool="answer" if prompt.channel == "tool" else None,
        schema=prompt.schema,
    )
    answer = judge(question, None, SimulatorConfig()).answer
    return answer.text if answer.tool_input is None else dict(answer.tool_input)


async def ranked(answer: Any) -> Ranking:
    samples = [
        Sample(messages=(Message("user", "How much?"),), response=text, reference="much")
        for text in ("a little", "much", "<item abcd 0123456789abcdef>", "nothing")
    ]
    settings, model = Settings(answer=answer), Scripted(simulated)
    async with open_service(settings, environ={}, model=model) as service:
        ranking = await service.rank(samples)
    assert {prompt.channel for prompt in model.prompts} == {answer}
    return ranking


@pytest.mark.parametrize("answer", ["text", "schema", "tool"])
async def test_every_response_that_is_ranked_gets_a_score_that_its_place_does_not_change(
    answer: str,
) -> None:
    ranking = await ranked(answer)

    assert None not in [reward.score for reward in ranking.rewards]
    assert (ranking.orders, ranking.consistency) == (2, 1.0)
    assert len(set(ranking.ranks)) > 1


def test_a_prompt_about_one_thing_is_answered_as_before() -> None:
    question = Question(model="judge", prompt='<item a 1>\nx\n</item a 1>\nGive {"style": ...}')

    answer = json.loads(str(judge(question, None, SimulatorConfig()).answer.text))

    assert answer.keys() == {"style"}
    assert re.fullmatch(r"[01]\.\d+", str(answer["style"]))
