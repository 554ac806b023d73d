"""Examples of the OpenAPI document: bodies and replies, which tests send and compare."""

from typing import Any

ROW: dict[str, Any] = {
    "id": "r-1",
    "messages": [
        {"role": "user", "content": "What is 2 + 2?"},
        {"role": "assistant", "content": "It is four."},
    ],
    "reference_answer": "four",
}

ROW_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": (
        "A rollout in any form of docs/contracts.md. The usual form has `messages`, of which the last is the"
        " model's answer, and a `reference_answer`; other fields are metadata."
    ),
    "properties": {
        "id": {"description": "Any JSON value; returned as sent."},
        "messages": {
            "description": "A list of objects with `role` and `content` (text or content blocks)."
        },
        "reference_answer": {"description": "Text; anything else is shown to the judge as JSON."},
    },
}

REWARDS: dict[str, Any] = {"samples": [ROW], "reasons": False}

REWARDS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["samples"],
    "additionalProperties": False,
    "properties": {
        "samples": {"type": "array", "items": ROW_SCHEMA},
        "reasons": {"type": "boolean", "default": False},
    },
}

REWARDS_REPLY: dict[str, Any] = {
    "rewards": [{"id": "r-1", "score": 0.84, "reason": None, "criteria": {"similarity": 0.84}}],
    "totals": {
        "rewards": 1,
        "unscored": 0,
        "input_tokens": 0,
        "output_tokens": 0,
        "calls": 1,
        "cost_usd": None,
    },
}

INVOCATION: list[dict[str, Any]] = [ROW]

INVOCATION_SCHEMA: dict[str, Any] = {
    "description": "A list of rollouts, one of them, or a wrapper around them; see docs/contracts.md.",
    "anyOf": [{"type": "array", "items": ROW_SCHEMA}, ROW_SCHEMA],
}

INVOCATION_REPLY: list[dict[str, Any]] = [
    {
        "id": "r-1",
        "aggregate_reward_score": 0.84,
        "metrics_list": [
            {"name": "similarity", "value": 0.84, "type": "Reward"},
            {"name": "unscored", "value": 0.0, "type": "Metric"},
        ],
    }
]

RANK: dict[str, Any] = {"samples": [ROW, {**ROW, "id": "r-2"}], "reasons": False}
"""Equal responses, which every judge scores equally."""

RANK_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "Two to sixteen rollouts of one prompt, equal except for id and response.",
    "required": ["samples"],
    "additionalProperties": False,
    "properties": {
        "samples": {"type": "array", "items": ROW_SCHEMA, "minItems": 2, "maxItems": 16},
        "reasons": {"type": "boolean", "default": False},
    },
}

RANK_REPLY: dict[str, Any] = {
    "rewards": [
        {
            "id": name,
            "score": 0.84,
            "reason": None,
            "criteria": {"similarity": 0.84},
            "rank": 1,
        }
        for name in ("r-1", "r-2")
    ],
    "compared": False,
    "orders": 0,
    "consistency": None,
    "totals": {**REWARDS_REPLY["totals"], "rewards": 2},
}
