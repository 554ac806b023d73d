"""The examples of docs/trainers.md, called like their trainers do, on a real socket."""

import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from judge_service.errors import Denied
from judge_service.values import Prompt
from tests.trainers.conftest import serving

EXAMPLES = Path(__file__).parent.parent.parent / "examples" / "trainers"
USER = [{"role": "user", "content": "2 + 2?"}]


def exact(prompt: Prompt) -> float | Denied:
    if prompt.question.response == "unjudged":
        return Denied("down")
    return 1.0 if prompt.question.response == prompt.question.reference else 0.5


@asynccontextmanager
async def pasted(name: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Any]:
    """The module, with a service behind its URL; its client is closed as the trainer's end does."""
    async with serving(exact) as port:
        monkeypatch.setenv("JUDGE_URL", f"http://127.0.0.1:{port}")
        spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
        if hasattr(module, "CLIENT"):
            await module.CLIENT.aclose()


@pytest.mark.parametrize("conversational", [False, True])
async def test_trl_gets_a_list_with_none_for_what_was_not_judged(
    monkeypatch: pytest.MonkeyPatch, *, conversational: bool
) -> None:
    said = ["four", "five", "unjudged"]
    completions = [[{"role": "assistant", "content": one}] for one in said]

    async with pasted("trl_reward", monkeypatch) as module:
        rewards = await module.judge_reward(
            prompts=[USER if conversational else "2 + 2?"] * 3,
            completions=completions if conversational else said,
            completion_ids=[[1]] * 3,
            answer=["four"] * 3,
            trainer_state=None,
        )

    assert rewards == [1.0, 0.5, None]


async def test_verl_gets_the_same_keys_whether_it_was_judged_or_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with pasted("verl_reward", monkeypatch) as module:
        told = [
            await module.compute_score("data", said, "four", {"prompt": USER})
            for said in ("four", "five", "unjudged")
        ]

    assert told == [
        {"score": 1.0, "judge_failed": 0.0},
        {"score": 0.5, "judge_failed": 0.0},
        {"score": 0.75, "judge_failed": 1.0},
    ]


async def test_slime_calls_it_with_one_sample_or_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    samples = [
        SimpleNamespace(prompt="2 + 2?", response=said, label="four", remove_sample=False)
        for said in ("four", "five", "unjudged")
    ]

    async with pasted("slime_reward", monkeypatch) as module:
        assert await module.reward(None, samples[0], evaluation=False) == 1.0
        assert await module.reward(None, samples) == [1.0, 0.5, 0.0]

    assert [sample.remove_sample for sample in samples] == [False, False, True]


async def test_slime_remote_reward_reads_one_json_object() -> None:
    """As its `remote_rm` does: three fields in, JSON out, errors tried again ten times."""
    async with serving(exact) as port, httpx.AsyncClient() as client:
        url = f"http://127.0.0.1:{port}/reward"
        replies = [
            await client.post(url, json={"prompt": USER, "response": said, "label": "four"})
            for said in ("four", "unjudged")
        ]

    assert [reply.status_code for reply in replies] == [200, 200]
    assert [reply.json()["score"] for reply in replies] == [1.0, 1.0]
    assert [reply.json()["judge_failed"] for reply in replies] == [0.0, 1.0]
