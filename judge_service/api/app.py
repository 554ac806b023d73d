"""The application: one open judge, the routers, the error shape."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI

from judge_service.api import errors, routes_health, routes_invocations, routes_rewards
from judge_service.service import open_service
from judge_service.settings import Settings
from judge_service.telemetry.events import Sink, ignore

ROUTERS = (
    routes_rewards.ROUTER,
    routes_invocations.ROUTER,
    routes_health.ROUTER,
)
"""In the order they are looked through, the busiest first. A new router is one line here."""


def create_app(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    sink: Sink = ignore,
    model: Any = None,
) -> FastAPI:
    """The HTTP service as an ASGI application; its lifespan opens and closes the judge.

    settings: `Settings()` by default. environ, sink, model (a backend): as in `open_service`.
    """
    chosen = settings or Settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(chosen, environ=environ, sink=sink, model=model) as judge:
            app.state.judge = judge
            yield

    app = FastAPI(
        title="judge-service",
        description="One finite reward per rollout, in order, before the deadline.",
        version="1",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    return app
