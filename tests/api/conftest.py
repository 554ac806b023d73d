"""Fixtures that run the service in this process: over ASGI for replies, on a real socket for the protocol."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.api.process.server import Server, listen
from judge_service.backends.scripted import Scripted
from judge_service.settings import LogSettings, ServiceSettings, Settings

QUIET = Settings(
    logs=LogSettings(enabled=False), service=ServiceSettings(unready_s=0.0, drain_s=5.0)
)


def quiet(**service: Any) -> Settings:
    """Settings without log lines, with these of the service."""
    return replace(QUIET, service=replace(QUIET.service, **service))


def row(number: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"id": number, "prompt": "2 + 2?", "response": "4", "answer": "four", **fields}


class Talk:
    """A client of one service in this process. judge: its double."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client

    async def get(self, path: str, **more: Any) -> httpx.Response:
        return await self.client.get(path, **more)

    async def post(self, path: str, body: Any, **more: Any) -> httpx.Response:
        if isinstance(body, bytes):
            return await self.client.post(path, content=body, **more)
        return await self.client.post(path, json=body, **more)

    async def rewards(self, *rows: Any, **more: Any) -> httpx.Response:
        return await self.post("/v1/rewards", {"samples": list(rows), **more})


@asynccontextmanager
async def talking(app: FastAPI) -> AsyncIterator[Talk]:
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        yield Talk(app, client)


@pytest.fixture
def app() -> FastAPI:
    """The service with a judge that scores everything 0.5."""
    return create_app(QUIET, environ={}, model=Scripted(0.5))


@pytest.fixture
async def service(app: FastAPI) -> AsyncIterator[Talk]:
    async with talking(app) as talk:
        yield talk


Opener = Callable[..., FastAPI]


class Running:
    """A service on a real socket."""

    def __init__(self, server: Server, port: int) -> None:
        self.server = server
        self.port = port

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


@asynccontextmanager
async def running(app: FastAPI, settings: Settings) -> AsyncIterator[Running]:
    """The app under our uvicorn, on this loop; stopped as by a signal."""
    listener = listen("127.0.0.1", 0)
    server = Server(app, settings.service)
    serving = asyncio.create_task(server.serve([listener]))
    try:
        while not server.started:  # noqa: ASYNC110 - uvicorn sets a flag and no event
            await asyncio.sleep(0.01)
        yield Running(server, listener.getsockname()[1])
    finally:
        server.should_exit = True
        await serving


def post(path: str, body: bytes, *headers: str) -> bytes:
    """A request as it is on the wire."""
    lines = [f"POST {path} HTTP/1.1", "host: service", *headers]
    return "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
