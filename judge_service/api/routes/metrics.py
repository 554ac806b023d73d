"""`GET /metrics`: the metrics for Prometheus, which docs/metrics.md lists."""

import asyncio

from fastapi import Request
from starlette.responses import Response

from judge_service.api.routes.plain import plain_router
from judge_service.telemetry.prometheus import CONTENT_TYPE, exposition

ROUTER = plain_router("operation")


@ROUTER.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(request: Request) -> Response:
    """The metrics of all workers, in Prometheus' text format."""
    snapshots = await request.app.state.observation.workers.snapshots()
    text = await asyncio.to_thread(exposition, snapshots)
    return Response(text, media_type=CONTENT_TYPE)
