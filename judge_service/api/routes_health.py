"""Is it alive, is it ready? Open to everybody, answered from the event loop."""

from fastapi import Request
from starlette.responses import Response

from judge_service.api.plain_route import plain_router

ROUTER = plain_router("health")


@ROUTER.get("/ping")
async def ping(_request: Request) -> Response:
    """SageMaker's health check: 200 when ready, 503 when not, both empty."""
    return Response(status_code=200)
