from typing import Any

from judge_service.errors import Denied
from judge_service.settings import UnscoredSettings
from judge_service.values import Prompt
from tests.trainers.conftest import Client, serving

PROMPT = "<|im_start|>user\nHow much is two and two?<|im_end|>\n<|im_start|>assistant\n"


def rollout(response: str) -> dict[str, str]:
    return {"prompt": PROMPT, "response": f"{response}<|im_end|>", "label": "four"}


def exact(prompt: Prompt) -> float:
    return 1.0 if prompt.question.response == prompt.question.reference else 0.25


async def ask(client: Client, port: int, *responses: str) -> list[Any]:
    url = f"http://127.0.0.1:{port}/get_reward"
    rollouts = [rollout(response) for response in responses]
    return await client("openrlhf_rollouts.py", {"url": url, "rollouts": rollouts})  # type: ignore[no-any-return]


async def test_every_rollout_gets_the_reward_of_its_response_alone(client: Client) -> None:
    async with serving(exact) as port:
        right, wrong = await ask(client, port, "four", "five")

    assert (right["reward"], right["scores"]) == ([1.0], [1.0])
    assert (wrong["reward"], wrong["scores"]) == ([0.25], [0.25])
    assert right["extra_logs"] == {"similarity": [1.0], "judge_failed": [0.0]}


async def test_a_judge_that_is_down_is_a_number_and_no_rollout_without_a_reward(
    client: Client,
) -> None:
    async with serving(
        lambda _prompt: Denied("down"), unscored=UnscoredSettings(policy="fail")
    ) as port:
        (failed,) = await ask(client, port, "four")

    assert (failed["reward"], failed["extra_logs"]["judge_failed"]) == ([0.5], [1.0])
