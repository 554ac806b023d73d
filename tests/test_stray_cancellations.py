"""A stray cancellation in a backend is a failure to judge: it neither hangs `stream` nor escapes `score`."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from judge_service.backends.scripted import Scripted
from judge_service.errors import Unavailable
from judge_service.flow import Request
from judge_service.flow.workers import work_through
from judge_service.grading.blend import check
from judge_service.service import open_service
from judge_service.settings import Settings
from judge_service.telemetry.events import CallEnded, Event, SampleGraded
from judge_service.values import Completion, Prompt, Sample

SAMPLES = [Sample(id=n, response=f"answer {n}", reference="four", group_key="g") for n in range(4)]
PATIENCE_S = 20.0


class Stray(Scripted):
    """Gives up every call about a text, in the way a client library does that cancels its own tasks."""

    def __init__(self, text: str = "answer") -> None:
        super().__init__(0.5)
        self._text = text

    async def __call__(self, request: Request[Prompt]) -> Completion:
        if self._text not in request.body.messages[-1].content:
            return await super().__call__(request)
        inner = asyncio.ensure_future(asyncio.sleep(60))
        asyncio.get_running_loop().call_soon(inner.cancel)
        await inner
        raise AssertionError("the inner task was cancelled")


GROUP = """
name = "g"
compare = "group"
[[criteria]]
name = "quality"
description = "How good is it?"
"""

STACKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "hedge": {"hedge": {"enabled": True}},
    "pack": {"pack": {"max_samples": 4}},
    "vote": {"vote": {"draws": 3}, "temperature": 1.0},
    "group": {"rubric": GROUP},
}


def settings_of(name: str) -> Settings:
    given = {"backend": "bedrock", "model": "m", "retry": {"max_attempts": 1}, **STACKS[name]}
    return msgspec.convert(given, Settings)


@pytest.mark.parametrize("stack", STACKS)
async def test_a_stray_cancellation_is_unavailable_and_told(stack: str) -> None:
    told: list[Event] = []
    async with open_service(settings_of(stack), sink=told.append, model=Stray()) as judge:
        async with asyncio.timeout(PATIENCE_S):
            rewards = await judge.score(SAMPLES)
            streamed = [one async for one in judge.stream(enumerate(SAMPLES), deadline_s=5.0)]

    for reward in [*rewards, *(reward for _, reward in streamed)]:
        assert (reward.score, reward.reason) == (None, "unavailable")
    assert "although its caller waits" in rewards[0].detail
    assert len(streamed) == len(SAMPLES)
    assert {event.outcome for event in told if isinstance(event, CallEnded)} <= {"unavailable"}
    assert sum(isinstance(event, SampleGraded) for event in told) == 2 * len(SAMPLES)


@pytest.mark.parametrize("stack", ["plain", "hedge", "vote"])
async def test_the_others_are_judged(stack: str) -> None:
    async with open_service(settings_of(stack), model=Stray("answer 2")) as judge:
        async with asyncio.timeout(PATIENCE_S):
            rewards = await judge.score(SAMPLES)

    assert [reward.score for reward in rewards] == [0.5, 0.5, None, 0.5]


async def test_a_lone_sample_and_a_ranking_do_not_escape_either() -> None:
    async with open_service(settings_of("plain"), model=Stray()) as judge:
        async with asyncio.timeout(PATIENCE_S):
            [reward] = await judge.score(SAMPLES[:1])
            ranking = await judge.rank(SAMPLES)

    assert reward.reason == "unavailable"
    assert {one.reason for one in ranking.rewards} == {"unavailable"}


async def test_a_cancellation_by_the_caller_stays_one() -> None:
    async with open_service(settings_of("plain"), model=Scripted(0.5, latency_s=0.3)) as judge:
        task = asyncio.create_task(judge.score(SAMPLES))
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_a_layer_that_gives_up_is_caught_at_the_sample(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also above the gate, where only a mistake of ours can cancel."""
    async with open_service(settings_of("plain"), model=Scripted(0.5)) as judge:

        async def give_up(_request: Request[Sample]) -> None:
            raise asyncio.CancelledError

        monkeypatch.setattr(judge, "_grader", give_up)
        async with asyncio.timeout(PATIENCE_S):
            rewards = await judge.score(SAMPLES)
            streamed = [
                reward async for _, reward in judge.stream(enumerate(SAMPLES), deadline_s=5)
            ]

    assert {reward.reason for reward in [*rewards, *streamed]} == {"unavailable"}
    assert [part.name for part in rewards[0].parts] == ["similarity"]


@pytest.mark.parametrize("is_async", [True, False])
async def test_a_source_that_gives_up_ends_the_stream(*, is_async: bool) -> None:
    def plain() -> Iterator[tuple[int, int]]:
        yield 0, 0
        raise asyncio.CancelledError

    async def source() -> AsyncIterator[tuple[int, int]]:
        for job in plain():
            yield job

    async def work(job: int) -> int:
        return job

    async with asyncio.timeout(PATIENCE_S):
        with pytest.raises(Unavailable, match="although its caller waits"):
            async for _ in work_through(source() if is_async else plain(), work, workers=2):
                pass


@pytest.mark.parametrize("kind", ["async def", "def"])
async def test_a_function_of_the_users_that_gives_up_has_no_score(
    tmp_path: Path, kind: str
) -> None:
    code = f"import asyncio\n{kind} grade(sample):\n    raise asyncio.CancelledError\n"
    (tmp_path / "own.py").write_text(code)
    given = msgspec.convert({"grader": f"{tmp_path / 'own.py'}:grade"}, Settings)
    async with open_service(given) as judge:
        async with asyncio.timeout(PATIENCE_S):
            rewards = await judge.score(SAMPLES)
            streamed = [one async for one in judge.stream(enumerate(SAMPLES))]

    assert len(streamed) == len(SAMPLES)
    for reward in [*rewards, *(reward for _, reward in streamed)]:
        assert (reward.score, reward.reason) == (None, "grader_error")
    assert "CancelledError" in rewards[0].detail


async def test_a_verifier_that_gives_up_has_no_score() -> None:
    async def verify(_sample: Sample) -> Any:
        raise asyncio.CancelledError

    found = await check("unit", verify, Request(SAMPLES[0]))

    assert (found.score, found.reason) == (None, "grader_error")
    assert found.detail == "the verifier of unit failed with CancelledError"
