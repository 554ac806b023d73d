"""Routes without injection: FastAPI documents them, and the handler is called with the request alone."""

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.types import Receive, Scope, Send


class PlainRoute(APIRoute):
    """A route whose handler is `async def handler(request: Request) -> Response` and nothing more.

    There is nothing to inject, so FastAPI's solving of dependencies is left out; what it costs is in
    docs/decisions/0011. The handler's path parameters are in `request.path_params`.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = self._call

    async def _call(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self.endpoint(Request(scope, receive, send))
        await response(scope, receive, send)


def plain_router(tag: str) -> APIRouter:
    """A router of plain routes; `tag` is their heading in the OpenAPI document."""
    return APIRouter(route_class=PlainRoute, tags=[tag])
