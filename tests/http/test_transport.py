"""The HTTP client under faults: every fault has its error. Real sockets on the loopback."""

import asyncio
import gzip
import socket
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest

from judge_service.errors import DeadlineExceeded, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport, Reply
from judge_service.settings import HttpSettings

HEADERS = {"content-type": "application/json"}


def raw(*pieces: Any, hang_up: Any = True, pause_s: Any = 0.0) -> Any:
    """Writes the pieces, then aborts the connection, or leaves it open."""

    async def behave(writer: asyncio.StreamWriter) -> None:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(pause_s)
        if hang_up:
            writer.transport.abort()

    return behave


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


@pytest.fixture
async def transport() -> AsyncIterator[Any]:
    made = HttpTransport(HttpSettings(connect_timeout_s=0.3, max_reply_bytes=4096), 2)
    yield made
    await made.aclose()


@pytest.mark.parametrize(
    "behaviour",
    [
        raw(),
        raw(b"HTTP/1.1 200 OK\r\nConte", pause_s=0.02),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", pause_s=0.02),
        raw(b"\x00\x01no http at all\r\n\r\n", pause_s=0.02),
        raw(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc", pause_s=0.02),
        raw(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nabcdef"),
    ],
    ids=["reset", "half-headers", "half-body", "garbage", "bad-chunk", "two-lengths"],
)
async def test_a_broken_reply_is_unavailable_and_charged(
    server: Any, transport: HttpTransport, behaviour: Any
) -> None:
    server.will(behaviour)
    with pytest.raises(Unavailable, match="broke") as caught:
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert caught.value.charged
    assert caught.value.backoff_s == 0.05
    assert caught.value.max_retries is None
    assert transport.statistics().failed == 1


async def test_a_refused_connection_is_unavailable_and_not_charged(
    transport: HttpTransport,
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            await transport.post(f"http://127.0.0.1:{port}/", HEADERS, b"{}", 5.0)
    assert not caught.value.charged


async def test_a_connection_that_is_never_accepted_ends_with_the_connect_timeout(
    transport: HttpTransport,
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen(0)
        queue = [socket.socket() for _ in range(3)]
        for waiting in queue:
            waiting.setblocking(False)
            waiting.connect_ex(deaf.getsockname())
        with pytest.raises(Unavailable, match="cannot be reached") as caught:
            await transport.post(f"http://127.0.0.1:{deaf.getsockname()[1]}/", HEADERS, b"", 5.0)
        for waiting in queue:
            waiting.close()
    assert not caught.value.charged


async def test_a_server_that_speaks_no_tls_fails_closed(
    server: Any, transport: HttpTransport
) -> None:
    server.will(raw(b"plain"))
    with pytest.raises(Unavailable, match="cannot be reached"):
        await transport.post(server.url.replace("http:", "https:"), HEADERS, b"{}", 1.0)
    assert server.received == []


@pytest.mark.parametrize(
    "behaviour",
    [silence, raw(b"HTTP/1.1 200 OK\r\ncontent-length: 900\r\n\r\n", *[b"a"] * 90, pause_s=0.02)],
    ids=["silent", "one-byte-at-a-time"],
)
async def test_the_timeout_covers_the_whole_call_and_is_worth_one_retry(
    server: Any, transport: HttpTransport, behaviour: Any
) -> None:
    server.will(behaviour)
    began = time.monotonic()
    with pytest.raises(Unavailable, match="did not answer within") as caught:
        await transport.post(server.url, HEADERS, b"{}", 0.15)
    assert time.monotonic() - began < 1.0
    assert (caught.value.charged, caught.value.max_retries, caught.value.backoff_s) == (True, 1, 0)


async def test_waiting_for_a_free_connection_costs_nothing(server: Any) -> None:
    transport = HttpTransport(HttpSettings(), 1)
    server.will(silence)
    first = asyncio.create_task(transport.post(server.url, HEADERS, b"{}", 0.4))
    await asyncio.sleep(0.05)
    with pytest.raises(Unavailable) as caught:
        await transport.post(server.url, HEADERS, b"{}", 0.1)
    assert not caught.value.charged
    with pytest.raises(Unavailable):
        await first
    assert len(server.received) == 1
    await transport.aclose()


async def test_bytes_after_the_reply_never_answer_the_next_call(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    doubled = raw(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n"
                  b"content-length: 6\r\n\r\nforged", hang_up=False)  # fmt: skip
    server.will(doubled, answer(200, b"second"))
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"ok"
    await asyncio.sleep(0.02)
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"second"


async def test_a_connection_closed_while_idle_is_no_failure(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    async def answer_and_close(writer: asyncio.StreamWriter) -> None:
        await answer(200, b"ok")(writer)
        writer.close()

    server.will(answer_and_close, answer(200, b"again"))
    await transport.post(server.url, HEADERS, b"{}", 5.0)
    await asyncio.sleep(0.02)
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == b"again"
    assert server.connections == 2


async def test_a_connection_is_used_again(server: Any, transport: HttpTransport) -> None:
    for _ in range(5):
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert server.connections == 1
    assert transport.statistics().answered == 5


@pytest.mark.parametrize("named", [True, False], ids=["content-length", "chunked"])
async def test_a_reply_longer_than_the_limit_is_dropped_unread(
    server: Any, transport: HttpTransport, named: Any
) -> None:
    length = b"content-length: 50000000" if named else b"transfer-encoding: chunked"
    chunk = (b"" if named else b"10000\r\n") + b"a" * 65536 + (b"" if named else b"\r\n")
    written = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal written
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + b"\r\n\r\n")
        for _ in range(700):
            writer.write(chunk)
            await writer.drain()
            written += len(chunk)

    server.will(flood)
    with pytest.raises(Unavailable, match="max_reply_bytes"):
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    await asyncio.sleep(0.05)
    assert written < 40_000_000


async def test_redirects_are_not_followed(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    server.will(answer(302, b"", {"location": f"{server.url}/elsewhere"}))
    reply = await transport.post(f"{server.url}/here", HEADERS, b"{}", 5.0)
    assert reply.status == 302
    assert [one.target for one in server.received] == ["/here"]


async def test_proxies_of_the_environment_are_not_followed(
    server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    transport = HttpTransport(HttpSettings(), 2)
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).status == 200
    await transport.aclose()


async def test_nothing_is_decompressed_and_nothing_is_asked_to_be(
    server: Any, transport: HttpTransport, answer: Any
) -> None:
    packed = gzip.compress(b"{}")
    server.will(answer(200, packed, {"content-encoding": "gzip"}))
    assert (await transport.post(server.url, HEADERS, b"{}", 5.0)).body == packed
    assert server.received[0].headers["accept-encoding"] == "identity"
    assert server.received[0].headers["user-agent"] == "judge-service"


async def test_after_closing_calls_fail_and_are_not_charged(server: Any) -> None:
    transport = HttpTransport(HttpSettings(), 2)
    await transport.aclose()
    with pytest.raises(Unavailable) as caught:
        await transport.post(server.url, HEADERS, b"{}", 5.0)
    assert not caught.value.charged
    assert server.received == []


async def test_a_request_is_marked_when_its_bytes_may_leave(
    server: Any, transport: HttpTransport
) -> None:
    now = asyncio.get_running_loop().time()
    request = Request(body=None, deadline=now + 60)
    await transport.send(request, server.url, HEADERS, b"{}")
    assert now <= request.sent_at <= asyncio.get_running_loop().time()


async def test_a_request_without_time_left_is_not_sent(
    server: Any, transport: HttpTransport
) -> None:
    request = Request(body=None, deadline=asyncio.get_running_loop().time() - 1)
    with pytest.raises(DeadlineExceeded) as caught:
        await transport.send(request, server.url, HEADERS, b"{}")
    assert not caught.value.charged
    assert request.sent_at == 0
    assert server.received == []


async def test_a_timeout_at_the_deadline_is_the_deadlines(
    server: Any, transport: HttpTransport
) -> None:
    server.will(silence)
    request = Request(body=None, deadline=asyncio.get_running_loop().time() + 0.1)
    with pytest.raises(DeadlineExceeded) as caught:
        await transport.send(request, server.url, HEADERS, b"{}")
    assert caught.value.charged


async def test_a_cancelled_call_stays_cancelled(server: Any, transport: HttpTransport) -> None:
    server.will(silence)
    task = asyncio.create_task(transport.post(server.url, HEADERS, b"{}", 0.3))
    await asyncio.sleep(0.05)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize(
    ("headers", "expected_s"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"x-amz-retry-after": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "1e9"}, None),
        ({"retry-after": "٣"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, 0.0),
        ({}, None),
    ],
)
def test_the_wait_asked_for_is_a_plain_number_or_nothing(
    headers: dict[str, str], expected_s: Any
) -> None:
    assert Reply(429, headers, b"").retry_after_s() == expected_s


def test_the_wait_asked_for_may_be_a_date() -> None:
    reply = Reply(503, {"retry-after": formatdate(time.time() + 20, usegmt=True)}, b"")
    assert reply.retry_after_s() == pytest.approx(20, abs=2)


def test_a_date_to_wait_for_is_read_by_the_clock_of_who_sent_it() -> None:
    theirs = time.time() - 3600
    headers = {
        "date": formatdate(theirs, usegmt=True),
        "retry-after": formatdate(theirs + 20, usegmt=True),
    }
    assert Reply(503, headers, b"").retry_after_s() == 20


def test_the_repr_is_one_line() -> None:
    transport = HttpTransport(HttpSettings(), 7)
    assert repr(transport) == "HttpTransport(7 connections, 0 sent)"
