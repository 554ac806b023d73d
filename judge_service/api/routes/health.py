"""Health checks: whether the service is alive and ready. They need no API key."""

from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from judge_service.api.routes.plain import plain_router

ROUTER = plain_router("health")

NOT_READY: dict[int | str, dict[str, Any]] = {
    503: {"description": "It is starting or stopping; the body is empty."}
}


@ROUTER.get(
    "/ping",
    response_class=Response,
    responses={200: {"description": "Ready; the body is empty."}, **NOT_READY},
)
async def ping(request: Request) -> Response:
    """SageMaker's health check: 200 when ready, 503 while starting or stopping."""
    return Response(status_code=200 if is_ready(request.app) else 503)


@ROUTER.get(
    "/healthz/ready",
    response_class=Response,
    responses={200: {"description": "Ready."}, **NOT_READY},
)
async def ready(request: Request) -> Response:
    """Whether the service accepts new work.

    It is also ready while the judge is down: otherwise all replicas would be removed at once, and no caller
    would get the reason.
    """
    return Response(status_code=200 if is_ready(request.app) else 503)


@ROUTER.get(
    "/healthz/live",
    response_class=Response,
    responses={200: {"description": "The event loop runs."}},
)
async def live(_request: Request) -> Response:
    """Whether the process is alive."""
    return Response(status_code=200)


def is_ready(app: FastAPI) -> bool:
    """Whether the judge is open and the service is not stopping."""
    capacity = app.state.capacity
    return capacity is not None and not capacity.is_stopping
