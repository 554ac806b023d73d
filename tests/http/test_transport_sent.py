"""When a call counts as sent: with its first byte on a connected socket, and not before."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import closing, suppress
from typing import Any

import pytest
import trustme

from judge_service.flow import Request
from judge_service.flow.detach import Detached
from judge_service.http.transport import HttpTransport, Reply
from judge_service.settings import HttpSettings

HEADERS = {"content-type": "application/json"}
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Caller:
    """Calls in a task of its own, and leaves it to `Detached`, as the flow does."""

    def __init__(self, transport: HttpTransport, url: str) -> None:
        self.transport, self.url = transport, url
        self.attempt: Request[None] = Request(body=None)

    def start(self) -> asyncio.Task[Reply]:
        self.attempt = Request(body=None, deadline=asyncio.get_running_loop().time() + 5)
        return asyncio.create_task(self.call())

    async def call(self) -> Reply:
        task = asyncio.create_task(self.transport.send(self.attempt, self.url, HEADERS, b"{}"))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if Detached().leave(task, self.attempt):
                await asyncio.wait((task,))
            raise

    async def start_and_leave(self, stage: asyncio.Event) -> None:
        """The caller goes when the attempt is at a stage."""
        task = self.start()
        await asyncio.wait_for(stage.wait(), 5)
        assert not task.done()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert self.attempt.sent_at == 0


@pytest.fixture
async def transport() -> AsyncIterator[HttpTransport]:
    made = HttpTransport(HttpSettings(), 1)
    yield made
    await made.aclose()


@pytest.fixture
async def listen() -> AsyncIterator[Callable[..., Any]]:
    """Starts a server on the loopback and gives its port."""
    servers, tasks = [], set()

    async def start(answer: Any, context: ssl.SSLContext | None = None) -> int:
        async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with closing(writer.transport), suppress(asyncio.IncompleteReadError, ConnectionError):
                await answer(reader, writer)

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            tasks.add(asyncio.create_task(follow(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    yield start
    for server in servers:
        server.close()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0.01)  # sockets are closed in the loop's next rounds


async def test_a_call_that_leaves_the_line_for_a_connection_is_not_sent(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    answered = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await answer(200, b"ok")(writer)

    server.will(late)
    first = Caller(transport, server.url).start()
    await asyncio.sleep(0.02)
    second = Caller(transport, f"{server.url}/second")
    waiting = second.start()
    await asyncio.sleep(0.02)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert second.attempt.sent_at == 0
    answered.set()
    assert (await first).body == b"ok"
    await asyncio.sleep(0.02)
    assert [one.target for one in server.received] == ["/"]


async def test_a_call_counts_as_sent_exactly_when_it_is_whenever_its_caller_leaves(
    server: Any, transport: HttpTransport
) -> None:
    outcomes = []
    for turns in range(40):
        server.received.clear()
        first, second = Caller(transport, server.url), Caller(transport, f"{server.url}/second")
        leading, waiting = first.start(), second.start()
        for _ in range(turns):  # until the first is answered, and its connection the second's
            await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((leading, waiting))
        await asyncio.sleep(0.005)
        arrived = "/second" in [one.target for one in server.received]
        assert arrived == (second.attempt.sent_at > 0), f"after {turns} turns"
        outcomes.append(arrived)
    assert set(outcomes) == {True, False}, "both kinds were seen"
    assert repr(transport._pool) == "Pool(0 of 1 lent, 0 waiting)"


async def test_a_call_whose_name_is_still_looked_up_is_not_sent(
    server: Any, transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = asyncio.Event()

    async def never(*_: Any, **__: Any) -> Any:
        asked.set()
        await asyncio.sleep(30)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", never)
    url = server.url.replace("127.0.0.1", "judge.example")
    await Caller(transport, url).start_and_leave(asked)
    monkeypatch.undo()
    await asyncio.sleep(0.02)
    assert server.received == []


async def test_a_call_whose_connection_is_not_accepted_yet_is_not_sent(
    transport: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    connecting, connect = asyncio.Event(), asyncio.get_running_loop().sock_connect

    async def tell(*where: Any) -> None:
        connecting.set()
        await connect(*where)

    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", tell)
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        queue = [socket.socket() for _ in range(3)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        await Caller(transport, url).start_and_leave(connecting)
        for waiting in queue:
            waiting.close()


async def test_a_call_whose_tls_is_not_agreed_yet_is_not_sent(
    transport: HttpTransport, listen: Any
) -> None:
    received, hello_came = [], asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            received.append(piece)
            hello_came.set()

    url = f"https://127.0.0.1:{await listen(be_silent)}"
    await Caller(transport, url).start_and_leave(hello_came)
    await asyncio.sleep(0.02)
    (hello,) = received
    assert hello[0] == 0x16, "a handshake, and no record after it"


async def test_a_call_that_waits_for_its_proxy_is_not_sent(listen: Any) -> None:
    heads, asked = [], asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        asked.set()
        await reader.read()

    http = HttpSettings(proxy_url=f"http://127.0.0.1:{await listen(be_silent)}")
    transport = HttpTransport(http, 1)
    await Caller(transport, "https://judge.example").start_and_leave(asked)
    assert [head.split()[0] for head in heads] == [b"CONNECT"]
    await transport.aclose()


async def test_a_call_that_has_been_sent_goes_on_without_its_caller(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    answered = asyncio.Event()

    async def late(writer: asyncio.StreamWriter) -> None:
        await answered.wait()
        await answer(200, b"ok")(writer)

    server.will(late)
    caller = Caller(transport, server.url)
    task = caller.start()
    await asyncio.sleep(0.02)
    assert caller.attempt.sent_at > 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    answered.set()
    await asyncio.sleep(0.02)
    assert transport.statistics().answered == 1


async def test_the_wait_for_a_connection_is_no_latency_of_the_judge(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    loop = asyncio.get_running_loop()

    async def slow(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await answer(200, b"ok")(writer)

    server.will(slow, answer(200, b"ok"))
    callers = [Caller(transport, server.url) for _ in range(2)]
    began = loop.time()
    await asyncio.gather(*(caller.start() for caller in callers))
    first, second = (caller.attempt.sent_at - began for caller in callers)
    assert first < 0.1 <= second


async def test_a_handshake_is_no_latency_of_the_judge(listen: Any, tmp_path: Any) -> None:
    loop, ca = asyncio.get_running_loop(), trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def judge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"{}")
        writer.write(WHOLE)
        await reader.read()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)

    async def far_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        far = await asyncio.open_connection("127.0.0.1", port)
        with closing(far[1]):
            await asyncio.gather(pipe(reader, far[1]), pipe(far[0], writer))

    port = await listen(judge, context)
    transport = await asyncio.to_thread(
        HttpTransport, HttpSettings(ca_file=str(tmp_path / "ca.pem")), 1
    )
    caller = Caller(transport, f"https://localhost:{await listen(far_away)}")
    began = loop.time()
    assert (await caller.start()).body == b"ok"
    assert caller.attempt.sent_at - began >= 0.1
    await transport.aclose()


async def test_a_connection_whose_caller_left_while_it_was_made_serves_the_next(
    server: Any,
) -> None:
    left = 0
    for turns in range(12):  # from before the first step of connecting to after the last
        transport = HttpTransport(HttpSettings(), 1)
        caller = Caller(transport, server.url)
        task = caller.start()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait((task,))
        left += caller.attempt.sent_at == 0
        assert (await Caller(transport, server.url).start()).status == 200
        assert repr(transport._pool) == "Pool(0 of 1 lent, 0 waiting)"
        await transport.aclose()
    assert left > 4, "most left while it was made"
    assert server.connections == 12


async def test_closing_ends_a_connection_that_nobody_waits_for(listen: Any) -> None:
    loop, accepted = asyncio.get_running_loop(), asyncio.Event()

    async def be_silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()

    transport = HttpTransport(HttpSettings(), 1)
    url = f"https://127.0.0.1:{await listen(be_silent)}"
    await Caller(transport, url).start_and_leave(accepted)
    assert repr(transport._pool) == "Pool(1 of 1 lent, 0 waiting)", "it is still being made"
    began = loop.time()
    await transport.aclose()
    assert loop.time() - began < 1
    assert repr(transport._pool) == "Pool(0 of 1 lent, 0 waiting)"
