"""Ranking through the service: the assembled judge, its cache and its events."""

import json
import re
from typing import Any

import pytest

from judge_service import Message, Sample, Settings, open_service
from judge_service.backends.scripted import Scripted
from judge_service.errors import WireError
from judge_service.telemetry.events import SampleGraded
from judge_service.testing import RecordingSink
from judge_service.values import Prompt

LABEL = re.compile(r"<item (\w+) \w+>\n<response \w+>\n0\.(\d)")


def compare(prompt: Prompt) -> str:
    found = LABEL.findall(prompt.messages[1].content)
    entries = [{"ID": label, "similarity": int(digit) / 10} for label, digit in found]
    return json.dumps({"verdicts": entries})


def group(*responses: str) -> list[Sample]:
    ask = (Message("user", "How much?"),)
    return [
        Sample(id=f"r{i}", messages=ask, response=response, reference="much")
        for i, response in enumerate(responses)
    ]


async def test_a_second_look_at_the_same_group_comes_from_the_cache() -> None:
    judge, sink = Scripted(compare), RecordingSink()

    async with open_service(environ={}, model=judge, sink=sink) as service:
        first, second = [await service.rank(group("0.2", "0.8")) for _ in range(2)]

    assert [reward.score for reward in first.rewards] == [0.2, 0.8]
    assert second.ranks == first.ranks == (2, 1)
    assert len(judge.prompts) == 2
    assert [event.id for event in sink.of(SampleGraded)] == ["r0", "r1"] * 2


async def test_what_is_not_done_by_the_deadline_has_no_score() -> None:
    """In real time: the ranker reads its template in a thread, for which virtual time does not wait."""
    judge = Scripted(compare, latency_s=10)
    async with open_service(environ={}, model=judge) as service:
        ranking = await service.rank(group("0.2", "0.8"), deadline_s=0.05)

    assert {reward.reason for reward in ranking.rewards} == {"deadline"}


async def test_the_embedded_judge_scores_each_alone_and_says_so() -> None:
    samples = [
        Sample(messages=(Message("user", "Capital of France?"),), response=said, reference="Paris")
        for said in ("London, I think", "Paris")
    ]
    async with open_service(Settings(), environ={}) as service:
        ranking = await service.rank(samples)

    assert not ranking.compared
    assert ranking.ranks == (2, 1)


@pytest.mark.parametrize("samples", [[], group("0.1")])
async def test_what_is_no_group_is_refused(samples: Any) -> None:
    async with open_service(environ={}, model=Scripted(compare)) as service:
        with pytest.raises(WireError):
            await service.rank(samples)
