"""The clients of `cpu.py` send the same messages, and its fast judge answers repeated requests."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest

FENCE = re.compile("[0-9a-f]{16}")
"""Around what is judged; it hangs on a secret of each process."""

Script = Callable[[str], ModuleType]


class Judge:
    """`cpu_judge` in this process; keeps what it was asked. url: where it listens."""

    def __init__(self, script: Script) -> None:
        self.bodies: list[Any] = []
        self.url = ""
        outer = self

        class Listening(script("cpu_judge").Caller):  # type: ignore[misc]  # a base of run time
            def data_received(self, data: bytes) -> None:
                outer.bodies.append(json.loads(data.partition(b"\r\n\r\n")[2]))
                super().data_received(data)

        self.protocol = Listening


@pytest.fixture
async def judge(script: Script) -> AsyncIterator[Judge]:
    made = Judge(script)
    server = await asyncio.get_running_loop().create_server(made.protocol, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()


async def test_the_bare_client_sends_what_the_service_sends(script: Script, judge: Judge) -> None:
    worker = script("cpu_worker")
    messages = await script("cpu").messages_of_ours()
    for kind in ("chat", "raw"):
        async with worker.CLIENTS[kind](judge.url, 1, messages) as make:
            assert await make(range(1234567, 1234568)) > 0
    ours, bare = [FENCE.sub("fence", json.dumps(body)) for body in judge.bodies]
    assert ours == bare


async def test_a_request_in_pieces_is_answered_once(script: Script) -> None:
    server = await asyncio.get_running_loop().create_server(
        script("cpu_judge").Caller, "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname()[:2])
    for _ in range(2):
        for piece in (b"POST / HTTP/1.1\r\nContent-", b"Length: 2\r\n\r\n", b"{", b"}"):
            writer.write(piece)
            await asyncio.sleep(0.001)
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.rpartition(b": ")[2])
        assert json.loads(await reader.readexactly(length))["choices"]
    writer.close()
    server.close()
