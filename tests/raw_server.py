"""A raw server on the loopback that records requests; a test chooses the bytes of its replies."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from msgspec import Struct

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


class Received(Struct, frozen=True):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


def reply(
    status: int = 200, body: Any = b"{}", headers: dict[str, str] | None = None, **more: str
) -> Behaviour:
    """Answers every request with this."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"content-type": "application/json", "content-length": str(len(content))}
    named |= headers or {}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    raw = f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + content

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(raw)
        await writer.drain()

    return answer


class RawServer:
    """Answers the n-th request with the n-th behaviour, and with the last one from then on."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.connections = 0
        self.behaviours: list[Behaviour] = [reply()]
        self.url = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def will(self, *behaviours: Behaviour) -> "RawServer":
        self.behaviours = list(behaviours)
        self.received.clear()
        return self

    async def start(self) -> asyncio.Server:
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return server

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                self.received.append(await _read(reader))
                position = min(len(self.received), len(self.behaviours)) - 1
                await self.behaviours[position](writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Received:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {}
    for line in lines:
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    method, target, _ = first.split(" ")
    return Received(method, target, headers, body)


@pytest.fixture
async def server() -> AsyncIterator[RawServer]:
    raw = RawServer()
    listening = await raw.start()
    yield raw
    listening.close()
    await raw.stop()


@pytest.fixture
def answer() -> Callable[..., Behaviour]:
    return reply
