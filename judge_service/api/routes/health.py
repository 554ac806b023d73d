"""Is it alive, is it ready? Open to everybody, answered from the event loop."""

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
    """Whether it takes new work.

    A judge that is down does not make it unready: every replica would be taken out at once, and the
    reason would reach nobody.
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
    """The judge is open and the service is not stopping."""
    capacity = app.state.capacity
    return capacity is not None and not capacity.is_stopping
