"""Routes without dependency injection: their handler gets only the request; FastAPI documents them."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.types import Receive, Scope, Send

Handler = Callable[[Request], Awaitable[Any]]


class PlainRoute(APIRoute):
    """A route whose handler is `async def handler(request: Request) -> Response`.

    Nothing is injected, so a route without path parameters is called without FastAPI's dependency resolution
    and wrappers; docs/decisions/0011 has their cost. Path parameters are in `request.path_params`.
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


def short_ways(routers: Iterable[APIRouter]) -> dict[tuple[str, str], Handler]:
    """The handlers of all plain routes without path parameters, by method and path."""
    return {
        (method, route.path): route.endpoint
        for router in routers
        for route in router.routes
        if isinstance(route, PlainRoute) and "{" not in route.path
        for method in route.methods or ()
    }
