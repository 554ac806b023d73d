"""Completes the OpenAPI document with the JSON schemas of bodies and replies.

The routes use msgspec, so FastAPI does not know their bodies. The schemas come from msgspec types or are
written by hand.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from msgspec import Struct

from judge_service.api.errors import SCHEMA
from judge_service.api.jobs.status import JobStatus
from judge_service.api.request_context import SHORTEST_TIMEOUT_S
from judge_service.wire.native import NativeReply
from judge_service.wire.ranking import RankReply
from judge_service.wire.trainers.nemo_gym_metrics import AggregateMetrics

DESCRIPTION = "One finite reward per rollout, in order, before the deadline."

TYPES: tuple[type[Struct], ...] = (NativeReply, JobStatus, RankReply, AggregateMetrics)
"""Types that a reply may use with `json_reply`; their schemas become components."""

REFERENCE = "#/components/schemas/{name}"

TIMEOUT_PARAMETER = {
    "name": "X-Judge-Timeout-S",
    "in": "header",
    "required": False,
    "description": "time limit of the request, seconds, at most `deadline_s`",
    "schema": {"type": "number", "minimum": SHORTEST_TIMEOUT_S},
}


def json_body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """The `openapi_extra=` of a route that reads JSON and judges at once."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [TIMEOUT_PARAMETER],
    }


def json_reply(
    description: str, kind: type[Struct] | dict[str, Any], example: Any, *, status: int = 200
) -> dict[int | str, dict[str, Any]]:
    """The `responses=` of a JSON reply: one of `TYPES`, or a schema."""
    schema = kind if isinstance(kind, dict) else {"$ref": REFERENCE.format(name=kind.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {status: {"description": description, "content": content}}


def install(app: FastAPI, routers: Iterable[APIRouter]) -> None:
    """Completes `app.openapi()` with the components of replies, the error, the API keys and the examples."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title,
                version=app.version,
                description=app.description,
                routes=app.routes,
            )
            components = made.setdefault("components", {})
            _, schemas = msgspec.json.schema_components(TYPES, ref_template=REFERENCE)
            components["schemas"] = {**components.get("schemas", {}), **schemas, "Error": SCHEMA}
            components["securitySchemes"] = {
                "bearer": {"type": "http", "scheme": "bearer"},
                "header": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
            }
            _restore_examples(made, routers)
            made["security"] = [{}, {"bearer": []}, {"header": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way


def _restore_examples(document: dict[str, Any], routers: Iterable[APIRouter]) -> None:
    """Restores the examples, because FastAPI removes every `null` in them."""
    for router in routers:
        for route in router.routes:
            if isinstance(route, APIRoute) and route.include_in_schema:
                for method in route.methods or ():
                    shown = document["paths"][route.path][method.lower()]["responses"]
                    _restore(shown, route.responses)


def _restore(shown: dict[str, Any], written: Mapping[int | str, dict[str, Any]]) -> None:
    for status, response in written.items():
        for kind, content in response.get("content", {}).items():
            if "example" in content:
                shown[str(status)]["content"][kind]["example"] = content["example"]
