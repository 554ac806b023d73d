"""The client of the service's benchmarks: it must neither lose nor hide an answer."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import ModuleType

import pytest

Script = Callable[[str], ModuleType]
Respond = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\ndone"


@asynccontextmanager
async def serving(respond: Respond) -> AsyncIterator[int]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                await respond(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def arrivals(script: Script) -> ModuleType:
    return script("arrivals")


async def test_an_answer_that_comes_in_pieces_is_one_answer(arrivals: ModuleType) -> None:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for place in range(len(OK)):
            writer.write(OK[place : place + 1])
            await writer.drain()
            await asyncio.sleep(0)

    async with serving(respond) as port:
        client = arrivals.Client(port)
        answer = await client.ask(arrivals.request(b""))
        client.close()

    assert (answer.status, answer.body) == (200, b"done")
    assert arrivals.header(answer, b"retry-after") == b"7"
    assert arrivals.header(answer, b"absent") is None


async def test_a_connection_that_breaks_is_an_answer_with_status_0(arrivals: ModuleType) -> None:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:20])
        writer.close()

    async with serving(respond) as port:
        client = arrivals.Client(port)
        answers = [await client.ask(arrivals.request(b"")) for _ in range(3)]

    assert [answer.status for answer in answers] == [0, 0, 0]


async def test_nobody_listening_is_an_answer_with_status_0(arrivals: ModuleType) -> None:
    async def respond(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        pass

    async with serving(respond) as port:
        pass

    assert (await arrivals.Client(port).ask(arrivals.request(b""))).status == 0


async def test_time_counts_from_when_a_request_was_due(arrivals: ModuleType) -> None:
    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with serving(respond) as port:
        client = arrivals.Client(port)
        due_s = asyncio.get_running_loop().time() - 10
        answer = await client.ask(arrivals.request(b""), due_s)
        client.close()

    assert answer.took_s >= 10


async def test_an_open_loop_does_not_wait_for_answers(arrivals: ModuleType) -> None:
    held = asyncio.Event()
    seen = 0

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        seen += 1
        if seen == 20:
            held.set()
        await held.wait()
        writer.write(OK)

    async with serving(respond) as port:
        client = arrivals.Client(port)
        answers = await client.at_rate([arrivals.request(b"")] * 20, 1000, 60)
        client.close()

    assert [answer.status for answer in answers] == [200] * 20


async def test_a_closed_loop_keeps_so_many_in_flight_and_no_more(arrivals: ModuleType) -> None:
    now = most = 0

    async def respond(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal now, most
        now, most = now + 1, max(most, now + 1)
        await asyncio.sleep(0)
        now -= 1
        writer.write(OK)

    async with serving(respond) as port:
        client = arrivals.Client(port)
        answers = await client.all([arrivals.request(b"")] * 50, 4)
        client.close()

    assert len(answers) == 50
    assert most == 4


def test_no_two_samples_of_the_load_are_alike(script: Script) -> None:
    rows = script("rows")

    assert len({rows.row(number)["response"] for number in range(1000)}) == 1000
