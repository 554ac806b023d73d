"""Framing of replies, reuse of connections, and values that are never sent. Real sockets."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
import trustme

from judge_service.errors import CredentialsError, Unavailable
from judge_service.http.reply import MAX_OVERHEAD_BYTES
from judge_service.http.route import route_of
from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings

HEADERS = {"content-type": "application/json"}
OK = b"HTTP/1.1 200 OK\r\n"
WHOLE = OK + b"content-length: 2\r\n\r\nok"


@pytest.fixture
async def transport() -> AsyncIterator[Any]:
    made = HttpTransport(HttpSettings(max_reply_bytes=4096), 2)
    yield made
    await made.aclose()


def wrote(*pieces: bytes, end: Any = False) -> Any:
    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.002)
        if end:
            writer.close()

    return behave


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([WHOLE], b"ok"),
        ([WHOLE[i : i + 1] for i in range(len(WHOLE))], b"ok"),
        ([OK + b"transfer-encoding: chunked\r\n\r\n1\r\no\r\n", b"1;x=y\r\nk\r\n0\r\n\r\n"], b"ok"),
        (
            [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early\r\nlink: x\r\n\r\n" + WHOLE],
            b"ok",
        ),
        ([OK + b"content-length: 0\r\n\r\n"], b""),
        ([b"HTTP/1.1 204 None\r\n\r\n"], b""),
    ],
    ids=["whole", "bytewise", "chunked", "interim", "empty", "no-content"],
)
async def test_a_whole_reply_is_read_and_its_connection_used_again(
    server: Any, transport: HttpTransport, pieces: Any, body: bytes
) -> None:
    server.will(wrote(*pieces))
    for _ in range(2):
        assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == body
    assert server.connections == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"connection: close\r\ncontent-length: 2\r\n\r\nok"],
        [b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\ncontent-length: 2\r\n\r\nok"],
        [WHOLE + b"\0"],
        [WHOLE, b"late"],
    ],
    ids=["close", "http-1.0", "surplus", "late-surplus"],
)
async def test_a_reply_can_be_good_and_its_connection_not(
    server: Any, transport: HttpTransport, pieces: Any
) -> None:
    server.will(wrote(*pieces))
    for _ in range(2):
        assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"ok"
        await asyncio.sleep(0.01)
    assert server.connections == 2


async def test_a_body_of_unsaid_length_ends_with_the_stream(
    server: Any, transport: HttpTransport
) -> None:
    server.will(wrote(OK + b"\r\n", b"o", b"k", end=True))
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"ok"


@pytest.mark.parametrize(
    "pieces",
    [
        [OK + b"content-length: 3\r\nconnection: close\r\n\r\nok"],
        [OK + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n"],
        [OK + b"transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n"],
        [b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"],
        [b"HTTP/1.1 100 Continue\r\n\r\n"],
    ],
    ids=["short", "unended", "two-framings", "upgrade", "only-interim"],
)
async def test_what_is_no_whole_reply_is_broken(
    server: Any, transport: HttpTransport, pieces: Any
) -> None:
    server.will(wrote(*pieces, end=True))
    with pytest.raises(Unavailable, match="broke") as caught:
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert caught.value.charged


@pytest.mark.parametrize(
    "pieces",
    [
        [OK, b"x: " + b"a" * (MAX_OVERHEAD_BYTES + 1)],
        [OK + b"transfer-encoding: chunked\r\n\r\n0\r\nx: ", b"a" * 80_000],
        [OK + b"transfer-encoding: chunked\r\n\r\n2;", b"a" * 80_000],
        [b"HTTP/1.1 100 Continue\r\n\r\n" * 4000],
    ],
    ids=["head", "trailer", "extension", "interims"],
)
async def test_what_comes_besides_a_body_is_bounded(
    server: Any, transport: HttpTransport, pieces: Any
) -> None:
    server.will(wrote(*pieces))
    with pytest.raises(Unavailable, match="besides the reply's body") as caught:
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert caught.value.charged


async def test_what_came_while_nobody_looked_answers_nothing(
    server: Any, transport: HttpTransport
) -> None:
    writers = []

    async def behave(writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        writer.write(WHOLE)

    server.will(behave)
    await transport.post(server.url, HEADERS, b"{}", 5.0)
    (idle,) = transport._pool._idle.values()
    assert idle[0].is_usable()
    writers[0].write(WHOLE)  # sent at once, and not read before the loop's next round
    assert not idle[0].is_usable()
    await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert server.connections == 2


@pytest.mark.parametrize("length", [4096, 4097])
async def test_a_reply_that_came_at_once_is_held_to_the_limit_too(
    server: Any, transport: HttpTransport, length: int
) -> None:
    server.will(wrote(OK + b"content-length: %d\r\n\r\n" % length + b"a" * length))
    if length <= 4096:
        assert len((await transport.post(server.url, HEADERS, b"{}", 5.0)).body) == length
        return
    with pytest.raises(Unavailable, match="max_reply_bytes") as caught:
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert caught.value.charged


async def test_headers_are_found_in_any_case_and_not_kept_for_the_next_reply(
    server: Any, transport: HttpTransport
) -> None:
    first = OK + b"Retry-AFTER: 1\r\nretry-after: 2\r\nContent-Length: 2\r\n\r\nok"
    interim = b"HTTP/1.1 103 Early\r\nx-early: 1\r\n\r\n"
    server.will(wrote(first), wrote(interim + WHOLE))
    reply = await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert (reply.header("RETRY-after"), reply.header("none")) == ("2", None)
    following = await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert following.header("retry-after") is None
    assert following.header("x-early") is None
    assert reply.header("retry-after") == "2", "it does not change with the next reply"
    assert server.connections == 1


async def test_trailers_change_no_header(server: Any, transport: HttpTransport) -> None:
    server.will(wrote(OK + b"transfer-encoding: chunked\r\nx-a: 1\r\n\r\n0\r\nx-a: 2\r\n\r\n"))
    reply = await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert reply.header("X-A") == "1"


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "a\r", "schlüssel", "\ud800"])
async def test_a_header_that_would_not_end_is_refused_and_not_shown(
    server: Any, transport: HttpTransport, value: str
) -> None:
    with pytest.raises(CredentialsError, match="authorization") as caught:
        await transport.post(server.url, {**HEADERS, "authorization": value}, b"{}", 5.0)
    assert value not in str(caught.value)
    assert server.connections == 0


@pytest.mark.parametrize("url", ["nonsense", "ftp://here/", "http://", "http://[", "http://h:x/"])
def test_an_address_that_is_none_costs_nothing(url: str) -> None:
    with pytest.raises(Unavailable, match="its address is no") as caught:
        route_of(url, None)
    assert not caught.value.charged


async def test_a_target_keeps_its_encoding(server: Any, transport: HttpTransport) -> None:
    await transport.post(f"{server.url}/model/a%3A0/converse?x=1&y=%20", HEADERS, b"{}", 5.0)
    await transport.post(f"{server.url}/ü b", HEADERS, b"{}", 5.0)
    assert [one.target for one in server.received] == [
        "/model/a%3A0/converse?x=1&y=%20",
        "/%C3%BC%20b",
    ]
    assert server.received[0].headers["host"] == server.url.removeprefix("http://")


async def test_a_cancelled_call_closes_its_connection_at_once(
    server: Any, transport: HttpTransport
) -> None:
    ended = asyncio.Event()

    async def half(writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"content-length: 9\r\n\r\nhal")
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.set()

    server.will(half)
    call = asyncio.create_task(transport.post(server.url, HEADERS, b"{}", 5.0))
    await asyncio.sleep(0.02)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    server.will(wrote(WHOLE))
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"ok"
    assert server.connections == 2


async def test_a_reply_before_the_question_is_out_ends_its_connection() -> None:
    ended = asyncio.Semaphore(0)

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 Too large\r\ncontent-length: 0\r\n\r\n")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()
        ended.release()

    listening = await asyncio.start_server(hasty, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    transport = HttpTransport(HttpSettings(), 1)
    for _ in range(2):
        assert (await transport.post(url, HEADERS, b"x" * 30_000_000, 5.0)).status == 413
        await asyncio.wait_for(ended.acquire(), 5)
    await transport.aclose()
    listening.close()


async def test_those_who_wait_are_served_in_the_order_they_came(server: Any) -> None:
    transport = HttpTransport(HttpSettings(), 1)
    calls = [
        asyncio.create_task(transport.post(f"{server.url}/{i}", HEADERS, b"{}", 5.0))
        for i in range(12)
    ]
    await asyncio.sleep(0)
    for i in (3, 7):
        calls[i].cancel()
    await asyncio.gather(*calls, return_exceptions=True)
    assert [one.target for one in server.received] == [
        f"/{i}" for i in range(12) if i not in (3, 7)
    ]
    assert server.connections == 1
    assert repr(transport._pool) == "Pool(0 of 1 lent, 0 waiting)"
    await transport.aclose()


async def test_closing_tells_those_who_wait(server: Any) -> None:
    transport = HttpTransport(HttpSettings(), 1)
    server.will(wrote(b"H"))
    calls = [asyncio.create_task(transport.post(server.url, HEADERS, b"{}", 5.0)) for _ in range(3)]
    await asyncio.sleep(0.02)
    await transport.aclose()
    problems: list[Any] = await asyncio.gather(*calls, return_exceptions=True)
    assert [problem.charged for problem in problems] == [True, False, False]
    assert repr(transport._pool) == "Pool(0 of 1 lent, 0 waiting)"


async def test_an_idle_connection_makes_room_for_another_origin(server: Any) -> None:
    transport = HttpTransport(HttpSettings(), 1)
    other = server.url.replace("127.0.0.1", "localhost")
    for url in (server.url, other, server.url):
        assert (await transport.post(url, HEADERS, b"{}", 5.0)).status == 200
    assert server.connections == 3
    await transport.aclose()


async def test_an_idle_connection_ends_by_itself(server: Any) -> None:
    transport = HttpTransport(HttpSettings(idle_timeout_s=0.02), 1)
    await transport.post(server.url, HEADERS, b"{}", 5.0)
    (idle,) = transport._pool._idle.values()
    assert repr(idle[0]) == "Connection(idle)"
    await asyncio.sleep(0.05)
    assert repr(idle[0]) == "Connection(closed)"
    await transport.aclose()


async def test_a_tunnel_leads_through_a_proxy_that_speaks_tls(tmp_path: Any) -> None:
    ca, heads = trustme.CA(), []
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("localhost").configure_cert(context)
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))

    async def judge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            await reader.readuntil(b"{}")
            writer.write(WHOLE)
            await reader.read()
        writer.close()

    async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(65536):
            writer.write(piece)
        writer.close()

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        far = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await asyncio.gather(pipe(reader, far[1]), pipe(far[0], writer), return_exceptions=True)

    servers = [
        await asyncio.start_server(one, "127.0.0.1", 0, ssl=context) for one in (judge, proxy)
    ]
    port, proxy_port = (one.sockets[0].getsockname()[1] for one in servers)
    http = HttpSettings(
        ca_file=str(tmp_path / "ca.pem"), proxy_url=f"https://localhost:{proxy_port}"
    )
    transport = await asyncio.to_thread(HttpTransport, http, 1)
    assert (await transport.post(f"https://localhost:{port}", HEADERS, b"{}", 5.0)).body == b"ok"
    assert heads[0].startswith(b"CONNECT localhost:%d " % port)
    await transport.aclose()
    await asyncio.sleep(0.05)
    for one in servers:
        one.close()
