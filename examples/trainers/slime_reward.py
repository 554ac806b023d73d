"""A reward function for slime. Unlike a remote URL, it excludes samples that were not judged from the loss.

--custom-rm-path slime_reward.reward          # also with --group-rm
"""

import asyncio
import os
from typing import Any

import httpx

URL = os.environ.get("JUDGE_URL", "http://127.0.0.1:8080")
TIMEOUT_S = 300.0
"""Longer than the service's `deadline_s`, with time to wait for a connection."""

LIMITS = httpx.Limits(max_connections=512)
CLIENT = httpx.AsyncClient(base_url=URL, timeout=TIMEOUT_S, limits=LIMITS)

NEUTRAL = 0.0
"""The reward of a sample that is removed; it does not enter the loss."""


async def reward(_args: Any, samples: Any, **_more: Any) -> Any:
    """Rewards one sample, or a list of samples: slime calls the function in both ways."""
    if isinstance(samples, list):
        return await asyncio.gather(*[_reward(sample) for sample in samples])
    return await _reward(samples)


async def _reward(sample: Any) -> float:
    row = {"prompt": sample.prompt, "response": sample.response, "answer": sample.label}
    reply = await CLIENT.post("/v1/rewards", json={"samples": [row]})
    reply.raise_for_status()
    score: float | None = reply.json()["rewards"][0]["score"]
    if score is None:
        sample.remove_sample = True
        return NEUTRAL
    return score
