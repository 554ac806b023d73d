"""Examples of the OpenAPI document for jobs: parameters, bodies and replies, which tests send and compare."""

import json
from typing import Any

from judge_service.api.openapi.examples import REWARDS, REWARDS_SCHEMA, ROW

JOB: dict[str, Any] = {
    "id": "0123456789abcdef0123456789abcdef",
    "state": "running",
    "total": 20000,
    "done": 5000,
    "unscored": {"refused": 3},
    "per_s": 50.0,
    "eta_s": 300.0,
    "created_at": 1790000000.0,
    "finished_at": None,
    "judge": "us.amazon.nova-lite-v1:0 with quality@0123456789abcdef",
    "reason": None,
    "until": None,
    "detail": "",
}

WAITING: dict[str, Any] = {
    **JOB,
    "state": "waiting",
    "per_s": None,
    "eta_s": None,
    "reason": "quota_exhausted",
    "until": 1790000900.0,
    "detail": "the quota of tokens per day is used up",
}

PUT_BACK: dict[str, Any] = {
    **JOB,
    "state": "queued",
    "done": 4997,
    "unscored": {},
    "per_s": None,
    "eta_s": None,
}

JOB_ID: dict[str, Any] = {
    "name": "job_id",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
}

PAGE: list[dict[str, Any]] = [
    {
        "name": "after",
        "in": "query",
        "description": "only results after this index",
        "schema": {"type": "integer", "minimum": -1, "default": -1},
    },
    {
        "name": "limit",
        "in": "query",
        "description": "limit of the results; by default all",
        "schema": {"type": "integer", "minimum": 1},
    },
]

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": REWARDS_SCHEMA, "example": REWARDS},
            "application/x-ndjson": {
                "schema": {"type": "string"},
                "example": f"{json.dumps(ROW)}\n",
            },
        },
    },
    "parameters": [
        {
            "name": "reasons",
            "in": "query",
            "description": "for a body of lines: each reward has its explanations",
            "schema": {"type": "boolean", "default": False},
        }
    ],
}

RESULTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": 'A reward a line, as in `/v1/rewards`, with its `index`; then `{"job": ...}`.',
        "content": {"application/x-ndjson": {"schema": {"type": "string"}}},
    }
}

EVENTS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Events whose data is a `JobStatus`.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    }
}
