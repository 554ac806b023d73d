"""A score function for verl: one request for each sample, on one client for the worker's life.

reward.custom_reward_function.path=/path/to/verl_reward.py
reward.custom_reward_function.name=compute_score
"""

import os
from typing import Any

import httpx

URL = os.environ.get("JUDGE_URL", "http://127.0.0.1:8080")
TIMEOUT_S = 120.0
"""Longer than the service's `deadline_s`."""

CLIENT = httpx.AsyncClient(base_url=URL, timeout=TIMEOUT_S)


async def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: Any,
    extra_info: dict[str, Any] | None = None,
    **_more: Any,
) -> dict[str, float]:
    """Scores one sample. If it was not judged, it has a substitute (`unscored.policy`) and `judge_failed` 1.

    The keys are always equal, because verl takes its columns from the first sample and has no neutral form.
    verl does not pass the prompt. If the data set has it in `extra_info["prompt"]`, the judge sees it and the
    rollouts of a prompt form a group.
    """
    del data_source
    prompt = (extra_info or {}).get("prompt") or ""
    body = {"prompt": prompt, "response": solution_str, "label": ground_truth}
    reply = await CLIENT.post("/reward", json=body)
    reply.raise_for_status()
    numbers = reply.json()
    return {"score": numbers["score"], "judge_failed": numbers["judge_failed"]}
