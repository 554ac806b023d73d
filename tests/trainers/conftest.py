"""Trainers' own client code, in a process of their own environment, against our service on a socket."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.api import create_app
from judge_service.backends.scripted import Scripted
from tests.api.conftest import QUIET, running
from tests.trainers.environment import PYTHON

CLIENTS = Path(__file__).parent / "clients"
CLIENT_TIMEOUT_S = 40

Client = Callable[..., Awaitable[Any]]


@pytest.fixture
def client() -> Client:
    """Runs a program of `clients/` with one JSON argument; what it prints last is its result."""
    if not PYTHON.exists():
        if os.environ.get("CI"):
            pytest.fail("the trainers' environment is absent; run `make trainers`")
        pytest.skip("`make trainers` makes the environment of this test")

    async def run(name: str, argument: Any) -> Any:
        process = await asyncio.create_subprocess_exec(
            PYTHON,
            CLIENTS / name,
            json.dumps(argument),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(CLIENT_TIMEOUT_S):
            told, complaint = await process.communicate()
        assert process.returncode == 0, complaint.decode()
        return json.loads(told.decode().splitlines()[-1])

    return run


@asynccontextmanager
async def serving(judge: Any, **settings: Any) -> AsyncIterator[int]:
    """The port of a service with that judge."""
    chosen = replace(QUIET, **settings)
    app = create_app(chosen, environ={}, model=Scripted(judge))
    async with running(app, chosen) as service:
        yield service.port
