"""Examples of the OpenAPI document for the routes that trainers call without changes."""

from typing import Any

TEXTS: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
NUMBERS: dict[str, Any] = {"type": "array", "items": {"type": "number"}}

GET_REWARD: dict[str, Any] = {
    "query": ["What is 2 + 2? It is four."],
    "prompts": ["What is 2 + 2?"],
    "labels": ["four"],
}

GET_REWARD_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["query", "prompts"],
    "properties": {
        "query": {**TEXTS, "description": "The prompt followed by the response, each."},
        "prompts": TEXTS,
        "labels": {"type": "array", "description": "Reference answers."},
    },
}

GET_REWARD_REPLY: dict[str, Any] = {
    "rewards": [0.84],
    "scores": [0.84],
    "extra_logs": {"similarity": [0.84], "judge_failed": [0.0]},
}

GET_REWARD_REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["rewards", "scores", "extra_logs"],
    "properties": {
        "rewards": NUMBERS,
        "scores": NUMBERS,
        "extra_logs": {"type": "object", "additionalProperties": NUMBERS},
    },
}

SLIME: dict[str, Any] = {"prompt": "What is 2 + 2?", "response": "It is four.", "label": "four"}

SLIME_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["prompt", "response"],
    "properties": {
        "prompt": {"description": "Text, or a list of messages."},
        "response": {"description": "Text."},
        "label": {"description": "The reference answer, or null."},
    },
}

SLIME_REPLY: dict[str, Any] = {"similarity": 0.84, "score": 0.84, "judge_failed": 0.0}

SLIME_REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["score", "judge_failed"],
    "additionalProperties": {"type": "number"},
}

VERIFY: dict[str, Any] = {
    "responses_create_params": {"input": [{"role": "user", "content": "What is 2 + 2?"}]},
    "response": {
        "id": "resp_1",
        "output": [
            {
                "type": "message",
                "role": "assistant",
                "content": [{"type": "output_text", "text": "It is four."}],
            }
        ],
    },
    "expected_answer": "four",
}

VERIFY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["responses_create_params", "response"],
    "properties": {
        "responses_create_params": {
            "type": "object",
            "required": ["input"],
            "properties": {"input": {"description": "Text, or a list of Responses items."}},
        },
        "response": {
            "type": "object",
            "required": ["output"],
            "properties": {"output": {"type": "array", "items": {"type": "object"}}},
        },
    },
}

VERIFY_REPLY: dict[str, Any] = {**VERIFY, "judge_similarity": 0.84, "reward": 0.84}

VERIFY_REPLY_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["responses_create_params", "response", "reward"],
    "properties": {"reward": {"type": "number"}, "mask_sample": {"const": True}},
}

AGGREGATE: dict[str, Any] = {
    "verify_responses": [{"_ng_task_index": 0, "reward": 0.5}, {"_ng_task_index": 0, "reward": 1.0}]
}

AGGREGATE_SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["verify_responses"],
    "properties": {"verify_responses": {"type": "array", "items": {"type": "object"}}},
}

MEASURES: dict[str, Any] = {
    "mean/reward": 0.75,
    "max/reward": 1.0,
    "min/reward": 0.5,
    "median/reward": 0.75,
    "std/reward": 0.35,
}

AGGREGATE_REPLY: dict[str, Any] = {
    "group_level_metrics": [{"_ng_task_index": 0, "num_rollouts": 2, **MEASURES}],
    "agent_metrics": MEASURES,
    "key_metrics": {"mean/reward": 0.75},
}
