"""Through the service: what a judge makes us change is in the rewards, the metrics, the log and `explain`."""

import asyncio
import json
import random
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from judge_service import Message, Sample, load_settings, open_service
from judge_service.telemetry.counters import Counters
from judge_service.telemetry.events import ChannelChanged, Event, RequestChanged

RUBRIC = """
name = "tone"
answer = "schema"
[[criteria]]
name = "tone"
description = "How polite is it?"
minimum = 0
maximum = 4
"""


def sample(number: int, response: str = "Good day.") -> Sample:
    return Sample(
        id=number, messages=(Message("user", "Greet me."),), response=f"{response} {number}"
    )


def chat(content: str, **usage: Any) -> Any:
    counted = {"prompt_tokens": 90, "completion_tokens": 6, **usage}
    return {
        "choices": [{"message": {"content": content}, "finish_reason": "stop"}],
        "usage": counted,
    }


def settings_of(url: str, folder: Path, more: str) -> Any:
    (folder / "r.toml").write_text(RUBRIC)
    (folder / "judge.toml").write_text(
        f'backend = "openai"\nmodel = "m"\nrubric = "{folder}/r.toml"\n'
        f'[openai]\nbase_url = "{url}/v1"\n[retry]\nbase_s = 0.01\n{more}'
    )
    return load_settings(folder / "judge.toml")


@asynccontextmanager
async def judging(url: str, folder: Path, more: str = "") -> Any:
    events: list[Event] = []
    settings = await asyncio.to_thread(settings_of, url, folder, more)
    async with open_service(settings, environ={"OPENAI_API_KEY": "k"}, sink=events.append) as judge:
        yield judge, events


def adaptations(events: list[Event]) -> dict[str, int]:
    counted: dict[str, int] = {}
    assert "adaptations" in Counters.__struct_fields__
    for event in events:
        if isinstance(event, ChannelChanged):
            counted[event.now] = counted.get(event.now, 0) + 1
        if isinstance(event, RequestChanged):
            counted[event.changes] = counted.get(event.changes, 0) + 1
    return counted


async def test_a_judge_of_another_kind_is_asked_as_it_wants_and_tells_so(
    server: Any, answer: Any, tmp_path: Path
) -> None:
    server.will(
        answer(400, {"error": {"message": "'temperature' is not supported with this model"}}),
        answer(400, {"error": {"message": "response_format is not supported"}}),
        answer(400, {"error": {"message": "'temperature' is not supported with this model"}}),
        answer(422, {"detail": "tools are not supported"}),
        answer(400, {"error": {"message": "'temperature' is not supported with this model"}}),
        answer(200, chat("3")),
    )
    async with judging(server.url, tmp_path) as (judge, events):
        rewards = [(await judge.score([sample(n)]))[0] for n in range(3)]
        explained = str(judge.explain())
    assert [reward.score for reward in rewards] == [0.75] * 3
    assert {reward.channel for reward in rewards} == {"text; no temperature"}
    assert adaptations(events) == {"text": 1, "no temperature": 1}
    assert len(server.received) == 8  # all that was learned, then one call each
    assert "no temperature" in explained
    assert "answer text" in explained


async def test_words_of_a_response_in_a_refusal_change_nothing_for_others(
    server: Any, answer: Any, tmp_path: Path
) -> None:
    quoted = "max_completion_tokens temperature response_format tools"
    server.will(
        *[answer(400, {"error": {"message": f"cannot parse: '{quoted}'"}})] * 16,
        answer(200, chat('{"tone": 3}')),
    )
    async with judging(server.url, tmp_path) as (judge, events):
        (reward,) = await judge.score([sample(1, quoted)])
        refused = len(server.received)
        server.will(answer(200, chat('{"tone": 3}')))
        (after,) = await judge.score([sample(2)])
    last = json.loads(server.received[-1].body)
    assert (reward.score, reward.reason, after.score) == (None, "denied", 0.75)
    assert refused <= 9  # three forms, each with what can be changed about it
    assert last.keys() >= {"max_tokens", "temperature", "response_format"}
    assert (after.channel, adaptations(events)) == ("schema", {})


async def test_a_judge_with_a_small_context_gives_no_score_and_teaches_no_ratio(
    server: Any, answer: Any, tmp_path: Path
) -> None:
    chance = random.Random(3)
    long = " ".join(
        "".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(6_000)
    )
    server.will(answer(200, chat('{"tone": 3}', prompt_tokens=2_047)))
    async with judging(server.url, tmp_path, "[limits]\ntokens_per_minute = 1000000\n") as (
        judge,
        _,
    ):
        before = repr(judge._assembly.tokens)
        (reward,) = await judge.score([sample(1, long)])
        assert repr(judge._assembly.tokens) == before
    assert (reward.score, reward.reason) == (None, "too_long")
    assert "--ctx-size" in reward.detail
