"""The OpenAPI document: bodies are described by JSON schema, made by msgspec or written by hand.

The routes read and write with msgspec, so FastAPI cannot see their bodies; it is told here.
"""

from typing import Any

import msgspec
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from msgspec import Struct

from judge_service.api.errors import SCHEMA
from judge_service.wire.native import NativeReply

DESCRIPTION = "One finite reward per rollout, in order, before the deadline."

TYPES: tuple[type[Struct], ...] = (NativeReply,)
"""Records that a reply may name with `json_reply`; their schemas become components."""

REFERENCE = "#/components/schemas/{name}"

TIMEOUT_PARAMETER = {
    "name": "X-Judge-Timeout-S",
    "in": "header",
    "required": False,
    "description": "seconds in which the answer is wanted, at most `deadline_s`",
    "schema": {"type": "number", "exclusiveMinimum": 0},
}


def json_body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    """`openapi_extra=` of a route that reads JSON and judges at once."""
    content = {"application/json": {"schema": schema, "example": example}}
    return {
        "requestBody": {"required": True, "content": content},
        "parameters": [TIMEOUT_PARAMETER],
    }


def json_reply(
    description: str, kind: type[Struct] | dict[str, Any], example: Any
) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a 200 with JSON: a record of `TYPES`, or a schema."""
    schema = kind if isinstance(kind, dict) else {"$ref": REFERENCE.format(name=kind.__name__)}
    content = {"application/json": {"schema": schema, "example": example}}
    return {200: {"description": description, "content": content}}


def install(app: FastAPI) -> None:
    """Makes `app.openapi()` complete: components of the replies, the error, the keys."""

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
            made["security"] = [{}, {"bearer": []}, {"header": []}]
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign] # FastAPI's documented way
