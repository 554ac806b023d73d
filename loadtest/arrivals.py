"""An HTTP/1.1 client for load tests, with an open loop (random arrivals) and a closed loop.

It is small, because it shares the machine with the measured service. Times count from the scheduled time of a
request, so that a stall of the client or the service does not hide the delays that it causes.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Iterable
from typing import Any, NamedTuple

HEAD = "POST {} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\nContent-Length: {}\r\n{}\r\n"
END = b"\r\n\r\n"
GIVE_UP_S = 90.0


class Answer(NamedTuple):
    """due_s: when it should have been sent, in the loop's seconds. status 0: the connection broke."""

    due_s: float
    took_s: float
    status: int
    head: bytes
    body: bytes


def request(body: bytes, path: str = "/v1/rewards", **headers: str) -> bytes:
    """The bytes of a request."""
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return HEAD.format(path, len(body), more).encode() + body


class Connection(asyncio.Protocol):
    """One kept-alive connection; one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None  # uvloop's is no asyncio.Transport
        self._waiting: asyncio.Future[tuple[int, bytes, bytes]] | None = None
        self._received = b""
        self.is_open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(END)
        if end and len(body) >= (size := _length(head)):
            self._received = body[size:]
            self._settle((int(head[9:12]), head, body[:size]))

    def connection_lost(self, _error: Exception | None) -> None:
        self.is_open = False
        self._settle((0, b"", b""))

    def ask(self, wire: bytes) -> "asyncio.Future[tuple[int, bytes, bytes]]":
        """Status, head and body of the reply; status 0 if the connection broke."""
        self._waiting = asyncio.get_running_loop().create_future()
        if self._transport is None or not self.is_open:
            self._settle((0, b"", b""))
        else:
            self._transport.write(wire)
        return self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def _settle(self, answer: tuple[int, bytes, bytes]) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(answer)


class Client:
    """A client with as many connections to one port as concurrent requests."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[Connection] = []

    async def ask(self, wire: bytes, due_s: float | None = None) -> Answer:
        """Sends a request on an idle or a new connection. due_s: its scheduled time, by default now."""
        loop = asyncio.get_running_loop()
        due_s = loop.time() if due_s is None else due_s
        connection = await self._connection()
        if connection is None:
            return Answer(due_s, loop.time() - due_s, 0, b"", b"")
        async with asyncio.timeout(GIVE_UP_S):
            status, head, body = await connection.ask(wire)
        took_s = loop.time() - due_s
        if connection.is_open and b"onnection: close" not in head:
            self._idle.append(connection)
        else:
            connection.close()
        return Answer(due_s, took_s, status, head, body)

    async def at_rate(
        self, wires: Iterable[bytes], per_s: float, seconds: float, seed: int = 0
    ) -> list[Answer]:
        """Open loop: sends requests at a mean rate and random times, like independent callers."""
        loop, chance = asyncio.get_running_loop(), random.Random(seed)
        due_s, end_s, asked = loop.time(), loop.time() + seconds, []
        for wire in wires:
            due_s += chance.expovariate(per_s)
            if due_s >= end_s:
                break
            if (wait_s := due_s - loop.time()) > 0:
                await asyncio.sleep(wait_s)
            asked.append(asyncio.create_task(self.ask(wire, due_s)))
        return list(await asyncio.gather(*asked))

    async def at_once(self, wires: Iterable[bytes], in_flight: int, seconds: float) -> list[Answer]:
        """Closed loop: keeps a number of requests in flight, to find the maximum throughput."""
        end_s = time.monotonic() + seconds
        return await self.all(
            itertools.takewhile(lambda _: time.monotonic() < end_s, wires), in_flight
        )

    async def all(self, wires: Iterable[bytes], in_flight: int) -> list[Answer]:
        """Sends all requests, with a number of them in flight."""
        answers: list[Answer] = []
        left = iter(wires)

        async def work() -> None:
            for wire in left:
                answer = await self.ask(wire)
                answers.append(answer)

        await asyncio.gather(*(work() for _ in range(in_flight)))
        return answers

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    async def _connection(self) -> Connection | None:
        while self._idle:
            if (connection := self._idle.pop()).is_open:
                return connection
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        except OSError:
            return None
        return connection


def header(answer: Answer, name: bytes) -> bytes | None:
    """A header of the reply, `None` if it is missing."""
    for line in answer.head.split(b"\r\n")[1:]:
        found, _, value = line.partition(b":")
        if found.lower() == name:
            return value.strip()
    return None


def _length(head: bytes) -> int:
    at = head.lower().find(b"content-length:")
    return int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
