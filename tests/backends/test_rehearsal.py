"""The scripted judge through the service."""

import pytest

from judge_service import Message, Sample, Settings
from judge_service.service import open_rehearsal

RUBRIC = """
name = "rehearsed"
[[criteria]]
name = "clear"
description = "Is it clear?"
minimum = 1
maximum = 5
[[criteria]]
name = "kind"
description = "Is it kind?"
levels = [0, 1, 2]
"""


@pytest.mark.parametrize("channel", ["schema", "tool", "text"])
@pytest.mark.parametrize("reasoning", ["none", "brief"])
async def test_it_answers_by_the_script_and_else_the_middle(channel: str, reasoning: str) -> None:
    rubric = f'answer = "{channel}"\nreasoning = "{reasoning}"\n{RUBRIC}'
    script = {"known": {"clear": 5.0, "kind": 0.0}, "half known": {"clear": 2.0}}
    async with open_rehearsal(Settings(rubric=rubric), script) as judge:
        rewards = await judge.score([Sample(response=one) for one in (*script, "unknown")])
    assert [[part.score for part in reward.parts] for reward in rewards] == [
        [1.0, 0.0],
        [0.25, 0.5],
        [0.5, 0.5],
    ]


async def test_it_compares_responses_by_the_script() -> None:
    ask = (Message("user", "Say!"),)
    script = {f"answer {n}": {"clear": 1.0 + n, "kind": 1.0} for n in range(4)}
    async with open_rehearsal(Settings(rubric=RUBRIC), script) as judge:
        ranking = await judge.rank([Sample(messages=ask, response=one) for one in script])
    assert (ranking.ranks, ranking.compared) == ((4, 3, 2, 1), True)
    assert ranking.consistency == 1.0
