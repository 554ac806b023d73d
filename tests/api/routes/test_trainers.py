from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from judge_service.errors import Denied
from judge_service.settings import UnscoredSettings, WireSettings
from judge_service.values import Prompt
from tests.api.conftest import QUIET, Talk, talking

GET_REWARD = {"query": ["2 + 2? four</s>"], "prompts": ["2 + 2?"], "labels": ["four"]}
SLIME = {"prompt": "2 + 2?", "response": "four", "label": "four"}
VERIFY = {
    "responses_create_params": {"input": "2 + 2?"},
    "response": {
        "id": "resp_1",
        "output": [{"role": "assistant", "content": [{"type": "output_text", "text": "four"}]}],
    },
    "expected_answer": "four",
}
BODIES = {"/get_reward": GET_REWARD, "/reward": SLIME, "/verify": VERIFY}


def down(_prompt: Prompt) -> Denied:
    return Denied("down")


async def answer_of(judge: Any, path: str, **settings: Any) -> Any:
    app = create_app(replace(QUIET, **settings), environ={}, model=Scripted(judge))
    async with talking(app) as talk:
        answer = await talk.post(path, BODIES[path])
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_openrlhf_gets_columns() -> None:
    assert await answer_of(0.5, "/get_reward") == {
        "rewards": [0.5],
        "scores": [0.5],
        "extra_logs": {"similarity": [0.5], "judge_failed": [0.0]},
    }


async def test_openrlhf_gets_scores_from_zero_to_one_whatever_the_wire_range() -> None:
    reply = await answer_of(0.25, "/get_reward", wire=WireSettings(score_range="-1..1"))

    assert (reply["rewards"], reply["scores"]) == ([-0.5], [0.25])


async def test_slime_gets_one_object() -> None:
    assert await answer_of(0.5, "/reward") == {
        "similarity": 0.5,
        "score": 0.5,
        "judge_failed": 0.0,
    }


async def test_nemo_gym_gets_its_rollout_back_with_the_reward() -> None:
    assert await answer_of(0.5, "/verify") == {**VERIFY, "judge_similarity": 0.5, "reward": 0.5}


@pytest.mark.parametrize("policy", ["group_mean", "value:0.5", "fail"])
@pytest.mark.parametrize("path", ["/get_reward", "/reward"])
async def test_a_trainer_that_cannot_bear_an_error_gets_a_number_and_is_told(
    path: str, policy: str
) -> None:
    reply = await answer_of(down, path, unscored=UnscoredSettings(policy=policy))

    if path == "/get_reward":
        assert (reply["rewards"], reply["extra_logs"]["judge_failed"]) == ([0.5], [1.0])
    else:
        assert (reply["score"], reply["judge_failed"]) == (0.5, 1.0)


async def test_the_substitute_is_the_mean_of_the_same_prompt() -> None:
    scores = iter([0.9, 0.7])
    judge = Scripted(lambda _prompt: next(scores, Denied("down")))
    async with talking(create_app(QUIET, environ={}, model=judge)) as talk:
        replies = [
            (await talk.post("/reward", {**SLIME, "response": text})).json()
            for text in ("one", "two", "three")
        ]

    assert [reply["judge_failed"] for reply in replies] == [0.0, 0.0, 1.0]
    assert replies[2]["score"] == pytest.approx(0.8)


async def test_nemo_gym_is_told_to_mask_what_was_not_judged() -> None:
    reply = await answer_of(down, "/verify", unscored=UnscoredSettings(policy="fail"))

    assert (reply["reward"], reply["mask_sample"]) == (0.0, True)
    assert reply["failure_kind"] == "judge_failed"
    assert reply["failure_reason"].startswith("denied: ")


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/get_reward", {"query": "text", "prompts": []}, "$.query"),
        ("/reward", {"prompt": "p"}, "$"),
        ("/verify", {"response": {}}, "$.responses_create_params"),
        ("/aggregate_metrics", {}, "$.verify_responses"),
    ],
)
async def test_a_wrong_body_is_refused_with_its_place(
    service: Talk, path: str, body: Any, field: str
) -> None:
    answer = await service.post(path, body)

    assert answer.status_code == 400
    assert answer.json()["error"]["field"] == field


async def test_the_companions_of_verify_are_there(service: Talk) -> None:
    seeded = await service.post("/seed_session", {"responses_create_params": {"input": "x"}})
    mode = await service.get("/reverify_mode")
    found = await service.post("/aggregate_metrics", {"verify_responses": [{"reward": 1.0}]})

    assert (seeded.status_code, seeded.json()) == (200, {})
    assert (mode.status_code, mode.json()) == (200, "stateless")
    assert found.json()["key_metrics"] == {"mean/reward": 1.0}
