"""A reward function for TRL's GRPOTrainer and RLOOTrainer: one request for each generation batch.

GRPOTrainer(model=..., reward_funcs=[judge_reward], ...)     # JUDGE_URL is the service's address
"""

import os
from typing import Any

import httpx

URL = os.environ.get("JUDGE_URL", "http://127.0.0.1:8080")
TIMEOUT_S = 120.0
"""Longer than the service's `deadline_s`. TRL itself has no limit."""


async def judge_reward(
    prompts: list[Any], completions: list[Any], answer: list[Any] | None = None, **_columns: Any
) -> list[float | None]:
    """Rewards a batch of completions.

    A completion that could not be judged is `None`, which TRL excludes from the group.

    answer: the data set's column with the reference; rename it to your column.
    """
    answers = answer or [None] * len(prompts)
    samples = [
        {"prompt": prompt, "response": completion, "answer": reference}
        for prompt, completion, reference in zip(prompts, completions, answers, strict=True)
    ]
    async with httpx.AsyncClient(base_url=URL, timeout=TIMEOUT_S) as client:
        reply = await client.post("/v1/rewards", json={"samples": samples})
        reply.raise_for_status()
    return [reward["score"] for reward in reply.json()["rewards"]]
