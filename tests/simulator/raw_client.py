"""A client that sends and receives raw bytes, without an HTTP library."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from judge_service.simulator import Simulator

MODEL_PATH = "/model/us.amazon.nova-lite-v1%3A0/converse"


class Reply(Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.json["output"]["message"]["content"][0]["text"]


def asking(prompt: str = "How similar?", **members: Any) -> dict[str, Any]:
    """A Converse body."""
    return {
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "inferenceConfig": {"maxTokens": 50},
        **members,
    }


def with_schema(schema: dict[str, Any]) -> dict[str, Any]:
    structure = {"jsonSchema": {"name": "verdict", "schema": json.dumps(schema)}}
    return {"outputConfig": {"textFormat": {"type": "json_schema", "structure": structure}}}


def with_tool(schema: dict[str, Any], *, strict: bool = False) -> dict[str, Any]:
    spec = {"name": "verdict", "inputSchema": {"json": schema}, "strict": strict}
    choice = {"tool": {"name": "verdict"}}
    return {"toolConfig": {"tools": [{"toolSpec": spec}], "toolChoice": choice}}


def request(body: Any, path: str = MODEL_PATH, headers: dict[str, str] | None = None) -> bytes:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {"host": "bedrock", "content-length": str(len(content)), **(headers or {})}
    lines = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"POST {path} HTTP/1.1\r\n{lines}\r\n".encode() + content


class RawClient:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def receive(self) -> Reply:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        line, *fields = head.strip().split("\r\n")
        headers = dict(field.lower().split(": ", 1) for field in fields)
        body = await self.reader.readexactly(int(headers["content-length"]))
        return Reply(int(line.split(" ")[1]), headers, body)

    async def ask(self, body: Any, path: str = MODEL_PATH, **headers: str) -> Reply:
        self.send(request(body, path, headers))
        return await self.receive()


@asynccontextmanager
async def connect(simulator: Simulator) -> AsyncIterator[RawClient]:
    address = urlsplit(simulator.url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield RawClient(reader, writer)
    finally:
        writer.close()
        with suppress(ConnectionError):  # the tests of resets end like this
            await writer.wait_closed()


async def eventually(holds: Callable[[], bool]) -> None:
    """Lets the loop turn until it holds; the test's own timeout is the limit."""
    while not holds():  # noqa: ASYNC110  # what is watched is a count, it has no event
        await asyncio.sleep(0.001)
