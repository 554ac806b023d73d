"""The transport leaks no descriptors, sockets or tasks, also if callers leave or the process is frozen."""

import asyncio
import gc
import itertools
import logging
import random
import resource
import signal
import sys
import textwrap
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from judge_service.backends.bedrock.sdk import BedrockSdk
from judge_service.errors import Unavailable
from judge_service.flow import Request, stack
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.detach import Detached
from judge_service.http import descriptors
from judge_service.http.transport import HttpTransport, Reply
from judge_service.settings import BedrockSettings, HttpSettings
from tests.flow.gates import new_gate

HEADERS = {"content-type": "application/json"}
MAX_IN_FLIGHT = 50


class Crowd:
    """A server that answers after a while, and counts who is connected and what it is asked at once.

    A connection whose caller left while it was being made is closed unused, and seen here for longer.
    """

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.connected: set[asyncio.Transport] = set()
        self.most_connected = self.received = self.at_work = self.most_at_work = 0
        self.url = ""

    def protocol(self) -> "Caller":
        return Caller(self)

    def hang_up(self) -> None:
        for transport in self.connected:
            transport.close()


class Caller(asyncio.Protocol):
    def __init__(self, crowd: Crowd) -> None:
        self.crowd = crowd

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.crowd.connected.add(transport)
        self.crowd.most_connected = max(self.crowd.most_connected, len(self.crowd.connected))

    def connection_lost(self, problem: Exception | None) -> None:
        self.crowd.connected.discard(self.transport)

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"{}"):
            self.crowd.received += 1
            self.crowd.at_work += 1
            self.crowd.most_at_work = max(self.crowd.most_at_work, self.crowd.at_work)
            asyncio.get_running_loop().call_later(self.crowd.latency_s, self.answer)

    def answer(self) -> None:
        self.crowd.at_work -= 1
        self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")


@pytest.fixture
async def crowd() -> AsyncIterator[Crowd]:
    made = Crowd(latency_s=0.0)
    server = await asyncio.get_running_loop().create_server(made.protocol, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    yield made
    server.close()
    for transport in list(made.connected):
        transport.abort()
    await asyncio.sleep(0)


class Stack:
    """The lower end of a target's stack, over a real transport."""

    def __init__(self, url: str, *, max_in_flight: int) -> None:
        self.url = url
        # a pool that is wide enough, so that it is the slots that hold
        self.transport = HttpTransport(HttpSettings(), 10 * max_in_flight)
        self.detached = Detached()
        self.gate = new_gate(max_in_flight=max_in_flight)
        flights = Coalesce[int, Reply](key=str, weight=lambda _: 1, detached=self.detached)
        self.call = stack(self.backend, flights, self.gate)
        self._calls = itertools.count()

    async def backend(self, request: Request[int]) -> Reply:
        return await self.transport.send(request, self.url, HEADERS, b"{}")

    def start(self) -> asyncio.Task[Reply]:
        return asyncio.ensure_future(self.call(Request(body=next(self._calls))))

    async def aclose(self) -> None:
        await self.detached.aclose(5.0)
        await self.transport.aclose()


def open_descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


async def leave(tasks: list[asyncio.Task[Reply]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_thousands_of_cancelled_calls_hold_no_more_than_their_slots(crowd: Crowd) -> None:
    crowd.latency_s = 0.2
    before = open_descriptors()
    judge = Stack(crowd.url, max_in_flight=MAX_IN_FLIGHT)
    for _ in range(4):  # each wave finds the slots still taken by the one before
        wave = [judge.start() for _ in range(500)]
        await asyncio.sleep(0.05)
        began = time.monotonic()
        await leave(wave)
        assert time.monotonic() - began < 0.5
        assert judge.gate.statistics().in_flight <= MAX_IN_FLIGHT
        assert judge.gate.waiting == 0
        assert judge.detached.statistics().abandoned <= MAX_IN_FLIGHT
    began = time.monotonic()
    await judge.aclose()
    assert time.monotonic() - began < 1.0
    assert crowd.most_at_work <= MAX_IN_FLIGHT
    assert crowd.received < 500  # most were never sent
    assert judge.transport.statistics().answered == crowd.received
    assert judge.gate.statistics().in_flight == 0
    assert judge.detached.statistics().abandoned == 0
    await asyncio.sleep(0.05)
    assert open_descriptors() <= before


async def test_a_slot_of_a_cancelled_call_comes_back_when_the_wire_call_ends(crowd: Crowd) -> None:
    crowd.latency_s = 0.1
    judge = Stack(crowd.url, max_in_flight=1)
    first = judge.start()
    await asyncio.sleep(0.03)
    await leave([first])
    began = time.monotonic()
    assert (await judge.start()).body == b"ok"
    assert time.monotonic() - began > 0.14  # what was left of the first call, and its own
    assert crowd.most_connected == 1
    await judge.aclose()


@pytest.mark.parametrize("seed", range(4))
async def test_leaving_at_any_moment_leaks_neither_descriptors_nor_tasks(
    crowd: Crowd, seed: int
) -> None:
    crowd.latency_s = 0.002
    chance = random.Random(seed)
    tasks_before = len(asyncio.all_tasks())
    judge = Stack(crowd.url, max_in_flight=8)
    await judge.start()
    before = open_descriptors()
    for _ in range(20):
        wave = [judge.start() for _ in range(20)]
        loop = asyncio.get_running_loop()
        for task in wave:
            loop.call_later(chance.uniform(0, 0.012), task.cancel)
        await asyncio.gather(*wave, return_exceptions=True)
    await judge.aclose()
    assert crowd.most_at_work <= 8
    assert judge.gate.statistics().in_flight == judge.gate.waiting == 0
    ended = judge.transport.statistics()
    assert ended.sent == ended.answered + ended.failed
    await asyncio.sleep(0.05)
    assert len(asyncio.all_tasks()) == tasks_before
    assert open_descriptors() <= before


async def test_closing_drops_the_idle_connections_and_twice_is_once(crowd: Crowd) -> None:
    transport = HttpTransport(HttpSettings(), 4)
    await asyncio.gather(*(transport.post(crowd.url, HEADERS, b"{}", 5.0) for _ in range(4)))
    assert crowd.connected
    await transport.aclose()
    await transport.aclose()
    await asyncio.sleep(0.02)
    assert not crowd.connected
    with pytest.raises(Unavailable, match="have been closed") as caught:
        await transport.post(crowd.url, HEADERS, b"{}", 5.0)
    assert not caught.value.charged
    assert transport.statistics().sent == 4


async def test_a_call_on_the_wire_at_closing_time_fails_and_may_have_been_charged(
    crowd: Crowd,
) -> None:
    crowd.latency_s = 0.2
    transport = HttpTransport(HttpSettings(), 1)
    call = asyncio.create_task(transport.post(crowd.url, HEADERS, b"{}", 5.0))
    await asyncio.sleep(0.05)
    await transport.aclose()
    with pytest.raises(Unavailable, match="closed") as caught:
        await call
    assert caught.value.charged


async def test_opening_and_closing_many_leaks_neither_descriptors_nor_threads(crowd: Crowd) -> None:
    async def open_and_close() -> None:
        transport = HttpTransport(HttpSettings(), 2)
        assert (await transport.post(crowd.url, HEADERS, b"{}", 5.0)).body == b"ok"
        await transport.aclose()

    await open_and_close()
    before = open_descriptors(), threads()
    for _ in range(10):
        await asyncio.gather(*(open_and_close() for _ in range(5)))
    gc.collect()
    await asyncio.sleep(0.05)
    assert not crowd.connected
    assert open_descriptors() <= before[0]
    assert threads() <= before[1]


async def test_connections_are_clipped_to_the_descriptors_there_are(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    with caplog.at_level(logging.WARNING, "judge_service"):
        transport = HttpTransport(HttpSettings(), 2000)
    assert transport.max_connections == 1024 - descriptors.RESERVED
    assert repr(transport) == "HttpTransport(896 connections of 2000 wanted (ulimit -n), 0 sent)"
    (record,) = caplog.records
    assert record.getMessage() == (
        "at most 896 judge calls at once instead of 2000: the process may hold 1024 file descriptors;"
        " raise `ulimit -n` to at least 2128 or lower limits.max_in_flight"
    )
    await transport.aclose()
    with caplog.at_level(logging.ERROR, "judge_service"):
        reference: Any = BedrockSdk(
            "m", bedrock=BedrockSettings(), http=HttpSettings(), environ={}, max_connections=2000
        )
    assert "896 connections" in repr(reference)


@pytest.mark.parametrize(
    ("soft", "wanted", "expected"),
    [(1024, 512, 512), (129, 10, 1), (100, 10, 1), (resource.RLIM_INFINITY, 10_000, 10_000)],
)
def test_at_least_one_connection_is_affordable(
    monkeypatch: pytest.MonkeyPatch, soft: int, wanted: int, expected: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, soft))
    assert descriptors.affordable(wanted) == expected


PRELUDE = """
import asyncio, os, resource, sys
from judge_service.http.transport import HttpTransport
from judge_service.errors import Unavailable
from judge_service.settings import HttpSettings
HEADERS = {"content-type": "application/json"}
url = sys.argv[1]
"""


async def start(program: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    source = PRELUDE + textwrap.dedent(program)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", source, *arguments, stdin=pipe, stdout=pipe, stderr=pipe
    )


async def run(program: str, *arguments: str) -> str:
    process = await start(program, *arguments)
    out, problems = await process.communicate()
    assert process.returncode == 0, problems.decode()
    return out.decode()


async def test_a_process_without_descriptors_says_so_and_recovers(crowd: Crowd) -> None:
    crowd.latency_s = 0.1
    out = await run(
        """
        async def main():
            transport = HttpTransport(HttpSettings(), 64)
            assert (await transport.post(url, HEADERS, b"{}", 5.0)).status == 200
            few = len(os.listdir("/proc/self/fd")) + 4
            resource.setrlimit(resource.RLIMIT_NOFILE, (few, few))
            calls = (transport.post(url, HEADERS, b"{}", 5.0) for _ in range(20))
            ended = await asyncio.gather(*calls, return_exceptions=True)
            refused = [one for one in ended if isinstance(one, Unavailable)]
            print(len(refused), len(ended), any(one.charged for one in refused), refused[0])
            assert (await transport.post(url, HEADERS, b"{}", 5.0)).status == 200
            await transport.aclose()
        asyncio.run(main())
        """,
        crowd.url,
    )
    refused, ended, charged, sentence = out.strip().split(" ", 3)
    assert 10 <= int(refused) < int(ended) == 20
    assert charged == "False"
    assert "`ulimit -n`" in sentence
    assert "limits.max_in_flight" in sentence


async def test_a_name_that_does_not_resolve_costs_nothing() -> None:
    out = await run(  # a label of 64 letters, which no resolver is asked for
        """
        async def main():
            transport = HttpTransport(HttpSettings(), 2)
            try:
                await transport.post(url, HEADERS, b"{}", 5.0)
            except Unavailable as problem:
                print(problem.charged, problem)
            await transport.aclose()
        asyncio.run(main())
        """,
        f"http://{'a' * 64}.invalid/",
    )
    assert out.startswith("False the judge cannot be reached (")


async def test_after_a_freeze_connections_that_idled_too_long_are_not_used(crowd: Crowd) -> None:
    process = await start(
        """
        async def main():
            loop = asyncio.get_running_loop()
            transport = HttpTransport(HttpSettings(idle_timeout_s=0.02), 4)
            for line in iter(lambda: sys.stdin.readline(), ""):  # blocks, as a frozen process does
                reply = await transport.post(url, HEADERS, b"{}", 5.0)
                print(reply.status, flush=True)
            await transport.aclose()
        asyncio.run(main())
        """,
        crowd.url,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"go\n")
    assert await process.stdout.readline() == b"200\n"
    for _ in range(10):
        process.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.01)
        crowd.hang_up()
        process.stdin.write(b"go\n")
        await asyncio.sleep(0.03)
        process.send_signal(signal.SIGCONT)
        assert await process.stdout.readline() == b"200\n"
    process.stdin.close()
    assert await process.wait() == 0


async def test_jumps_of_the_wall_clock_do_no_harm(
    crowd: Crowd, monkeypatch: pytest.MonkeyPatch
) -> None:
    crowd.latency_s = 0.01
    transport = HttpTransport(HttpSettings(), 1)
    now = time.time
    for jump_s in (600.0, -600.0, 86_400.0):
        monkeypatch.setattr(time, "time", lambda jump_s=jump_s: now() + jump_s)
        deadline = asyncio.get_running_loop().time() + 5.0
        request: Any = Request(body=None, deadline=deadline)
        assert (await transport.send(request, crowd.url, HEADERS, b"{}")).body == b"ok"
    assert crowd.most_connected == 1
    await transport.aclose()


async def test_a_process_that_closes_its_transports_never_aborts(crowd: Crowd) -> None:
    program = """
        async def main():
            transports = [HttpTransport(HttpSettings(), 2) for _ in range(3)]
            await asyncio.gather(*(one.post(url, HEADERS, b"{}", 5.0) for one in transports))
            await asyncio.gather(*(one.aclose() for one in transports))
        asyncio.run(main())
    """
    await asyncio.gather(*(run(program, crowd.url) for _ in range(6)))
