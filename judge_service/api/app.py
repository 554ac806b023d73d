"""The ASGI application: opens one judge, admits requests, calls the routes, and answers errors."""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.types import Receive, Scope, Send

from judge_service.api import dashboard, errors
from judge_service.api.access import ANYBODY, Caller, Keys, read_keys
from judge_service.api.admission.admitted_request import ClientGone
from judge_service.api.admission.capacity import Capacity
from judge_service.api.admission.loop_lag import LoopLag
from judge_service.api.dashboard import Panel
from judge_service.api.errors import HttpError
from judge_service.api.jobs.service import open_job_service
from judge_service.api.observation import observe
from judge_service.api.openapi import document as openapi
from judge_service.api.request_context import RequestContext
from judge_service.api.routes import health, invocations, jobs, metrics, rank, rewards, trainers
from judge_service.api.routes.plain import short_ways
from judge_service.errors import JudgeServiceError
from judge_service.service import JudgeService, open_service
from judge_service.settings import Settings
from judge_service.telemetry.events import Sink, ignore
from judge_service.telemetry.trace import carry

ROUTERS = (
    rewards.ROUTER,
    rank.ROUTER,
    trainers.ROUTER,
    invocations.ROUTER,
    jobs.ROUTER,
    health.ROUTER,
    metrics.ROUTER,
    dashboard.ROUTER,
)
"""All routers."""

OPEN_PATHS = frozenset({"/ping", "/healthz/live", "/healthz/ready"})
"""Paths that need no API key, because load balancers have none."""

ADMIN_PATHS = ("/metrics", "/dashboard", "/openapi.json")
"""Pages for operators; with `service.admin_port` they are only on that port."""

LOG = logging.getLogger("judge_service.api")


class JudgeApp(FastAPI):
    """FastAPI with API keys, the admin port, one form of error, and fast calls of plain routes.

    Routes with high load (`PlainRoute` without path parameters) are called directly, without FastAPI's
    wrappers; all others go through them.
    """

    def __init__(self, settings: Settings, keys: Keys | None, **fastapi: Any) -> None:
        super().__init__(**fastapi)
        self._service = settings.service
        self._keys = keys
        self._short_ways = short_ways(ROUTERS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await super().__call__(scope, receive, send)
            return
        scope["app"] = self
        context = RequestContext(scope["headers"], asyncio.get_running_loop().time())
        scope.setdefault("state", {})["context"] = context
        try:
            context.caller = self._admit_caller(scope)
            if ids := context.ids():
                with carry(**ids):
                    await self._route(scope, receive, send)
            else:
                await self._route(scope, receive, send)
        except ClientGone:
            pass
        except Exception as error:  # noqa: BLE001 - the last place where an error can become a response
            await self._answer_error(error, scope, receive, send)
        finally:
            if context.held_bytes:
                self.state.capacity.release_bytes(context.held_bytes)

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = self._short_ways.get((scope["method"], scope["path"]))
        if handler is None:
            await super().__call__(scope, receive, send)
            return
        response = await handler(Request(scope, receive, send))
        await response(scope, receive, send)

    def _admit_caller(self, scope: Scope) -> Caller:
        path = scope["path"]
        if path.startswith(ADMIN_PATHS):
            self._refuse_page(scope)
            if self._service.admin_port is not None:
                return ANYBODY
        elif self._is_admin_port(scope):
            raise HttpError(404, "not_found", "this port has only the pages for operators")
        if self._keys is None or path in OPEN_PATHS:
            return ANYBODY
        return self._keys.caller(scope["headers"])

    def _refuse_page(self, scope: Scope) -> None:
        if not self._service.admin_pages:
            raise HttpError(404, "not_found", "the pages for operators are turned off")
        if self._service.admin_port is not None and not self._is_admin_port(scope):
            raise HttpError(404, "not_found", "the pages for operators are on another port")

    def _is_admin_port(self, scope: Scope) -> bool:
        """Whether the request came to the admin port, by its socket, which no header can forge."""
        port = self.state.admin_port
        server = scope.get("server")
        return port is not None and server is not None and server[1] == port

    async def _answer_error(
        self, error: Exception, scope: Scope, receive: Receive, send: Send
    ) -> None:
        response = errors.respond(error)
        if response.status_code == 500:
            LOG.error("%s %s failed", scope["method"], scope["path"], exc_info=error)
        await response(scope, receive, send)


def create_app(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    sink: Sink = ignore,
    model: Any = None,
) -> FastAPI:
    """Makes the HTTP service as an ASGI application; its lifespan opens and closes the judge.

    settings: `Settings()` by default. environ, sink, model (a backend): as in `open_service`.

    Raises SettingsError if the file of API keys cannot be used.
    """
    chosen = settings or Settings()
    keys_file = chosen.service.api_keys_file

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with opened(app):
                yield
        except JudgeServiceError as failure:
            app.state.failure = failure  # because uvicorn does not pass it on
            raise

    @asynccontextmanager
    async def opened(app: FastAPI) -> AsyncIterator[None]:
        async with (
            observe(chosen, environ, sink) as observation,
            open_service(
                chosen, environ=environ, sink=observation.sink, model=model, stand_in=False
            ) as judge,
            observation.workers.running(judge.statistics),
        ):
            app.state.judge = judge
            app.state.observation = observation
            app.state.panel = Panel(observation.workers, sees_all=observation.sees_all)
            with LoopLag() as lag:
                capacity = app.state.capacity = capacity_of(judge, lag)
                async with open_job_service(judge, capacity.drained) as app.state.jobs:
                    yield
                    capacity.stop()

    app = JudgeApp(
        chosen,
        read_keys(Path(keys_file)) if keys_file else None,
        title="judge-service",
        description=openapi.DESCRIPTION,
        version="1",
        docs_url=None,  # these pages load scripts from other hosts
        redoc_url=None,
        lifespan=lifespan,
    )
    app.state.admin_port = chosen.service.admin_port
    app.state.admitted = set()
    app.state.failure = None
    app.state.capacity = None
    app.state.jobs = None
    errors.install(app)
    for router in ROUTERS:
        app.include_router(router)
    openapi.install(app, ROUTERS)
    return app


def capacity_of(judge: JudgeService, lag: LoopLag) -> Capacity:
    """Makes the capacity of a judge's queue; call it on the judge's event loop."""
    service = judge.settings.service
    return Capacity(
        max_samples=service.max_held_samples,
        max_bytes=service.max_held_bytes,
        expected_per_s=judge.expect().evaluations_per_s,
        is_busy=lambda: judge.is_busy() or lag.is_behind,
        now=asyncio.get_running_loop().time,
    )
