"""uvicorn with our protocol on a real socket: limits, stopping, callers that leave."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any, cast

import pytest

from judge_service.api import create_app
from judge_service.api.process.protocol import MAX_HEAD_BYTES, JoinedWrites
from judge_service.backends.scripted import Scripted
from tests.api.conftest import Running, post, quiet, row, running

BODY = json.dumps({"samples": [row()]}).encode()


@pytest.fixture
def judge() -> Scripted:
    return Scripted(0.5)


@pytest.fixture
async def server(judge: Scripted, request: Any) -> AsyncIterator[Running]:
    """Bounds are given by `@pytest.mark.parametrize("server", [...], indirect=True)`."""
    settings = quiet(**getattr(request, "param", {}))
    app = create_app(settings, environ={}, model=judge)
    async with running(app, settings) as opened:
        yield opened


def bounded(**service: Any) -> Any:
    return pytest.mark.parametrize("server", [service], indirect=True)


async def answer_of(reader: asyncio.StreamReader, timeout_s: float = 10.0) -> tuple[int, bytes]:
    async with asyncio.timeout(timeout_s):
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split()[1]), await reader.readexactly(length)


async def test_one_connection_carries_many_requests(server: Running) -> None:
    reader, writer = await server.connect()
    for _ in range(3):
        writer.write(post("/v1/rewards", BODY))
        status, body = await answer_of(reader)
        assert (status, json.loads(body)["rewards"][0]["score"]) == (200, 0.5)
    writer.close()


async def test_pipelined_requests_are_answered_in_order(server: Running) -> None:
    reader, writer = await server.connect()
    bodies = [json.dumps({"samples": [row(number)]}).encode() for number in range(5)]
    writer.write(b"".join(post("/v1/rewards", body) for body in bodies))

    ids = [json.loads((await answer_of(reader))[1])["rewards"][0]["id"] for _ in bodies]

    assert ids == [0, 1, 2, 3, 4]
    writer.close()


async def test_a_chunked_body_is_read(server: Running) -> None:
    reader, writer = await server.connect()
    head = b"POST /v1/rewards HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    writer.write(head + b"%x\r\n%s\r\n" % (10, BODY[:10]))
    await asyncio.sleep(0.02)
    writer.write(b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY) - 10, BODY[10:]))

    assert (await answer_of(reader))[0] == 200
    writer.close()


@bounded(header_timeout_s=0.1)
async def test_slow_headers_are_answered_408_and_dropped(server: Running) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST /v1/rewards HTTP/1.1\r\nhost: x\r\nx-slow: ")

    status, body = await answer_of(reader)

    assert (status, json.loads(body)["error"]["code"]) == (408, "headers_too_slow")
    assert await reader.read() == b""
    writer.close()


@bounded(header_timeout_s=0.1)
async def test_a_connection_that_never_says_anything_is_dropped(server: Running) -> None:
    reader, writer = await server.connect()

    async with asyncio.timeout(5):
        await reader.read()
    writer.close()


@bounded(body_timeout_s=0.2)
async def test_a_slow_body_is_answered_408(server: Running) -> None:
    reader, writer = await server.connect()
    writer.write(post("/v1/rewards", BODY)[:-10])

    status, body = await answer_of(reader)

    assert (status, json.loads(body)["error"]["code"]) == (408, "body_too_slow")
    writer.close()


@bounded(max_body_bytes=2048, body_timeout_s=0.2)
async def test_who_goes_on_sending_after_a_refusal_is_cut_off(server: Running) -> None:
    reader, writer = await server.connect()
    writer.write(b"POST /v1/rewards HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n")
    assert (await answer_of(reader))[0] == 413

    writer.write(b"x" * 1000)  # it is read and thrown away, for a while

    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_endless_headers_are_refused(server: Running) -> None:
    reader, writer = await server.connect()
    writer.write(b"GET /ping HTTP/1.1\r\nx-long: " + b"x" * (MAX_HEAD_BYTES + 1))

    status, body = await answer_of(reader)

    assert (status, json.loads(body)["error"]["code"]) == (431, "headers_too_large")
    writer.close()


@bounded(max_connections=2)
async def test_one_connection_too_many_is_told_so(server: Running) -> None:
    kept = [await server.connect() for _ in range(2)]
    kept[1][1].write(post("/v1/rewards", BODY))
    assert (await answer_of(kept[1][0]))[0] == 200

    reader, writer = await server.connect()
    status, body = await answer_of(reader)

    assert (status, json.loads(body)["error"]["code"]) == (503, "overloaded")
    for _, opened in [*kept, (reader, writer)]:
        opened.close()


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01\x02\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
)
async def test_what_is_no_http_is_refused_in_the_one_form_of_error(
    server: Running, garbage: bytes
) -> None:
    reader, writer = await server.connect()
    writer.write(garbage)

    status, body = await answer_of(reader)

    assert (status, json.loads(body)["error"]["code"]) == (400, "bad_request")
    writer.close()


async def test_a_caller_that_hangs_up_cancels_its_work(server: Running, judge: Scripted) -> None:
    judge._latency_s = 3.0
    _, writer = await server.connect()
    writer.write(post("/v1/rewards", BODY))
    capacity = server.server._app.state.capacity
    await _until(lambda: capacity.statistics().held_samples == 1)

    writer.transport.abort()

    began = time.monotonic()
    await _until(lambda: capacity.statistics().held_samples == 0)
    assert time.monotonic() - began < 1.0  # the judge would have taken 3


async def test_a_caller_that_hangs_up_is_noticed_behind_a_request_that_waits_its_turn(
    server: Running, judge: Scripted
) -> None:
    judge._latency_s = 3.0
    _, writer = await server.connect()
    # the second is not at work before the first is done
    writer.write(post("/v1/rewards", BODY) * 2)
    capacity = server.server._app.state.capacity
    await _until(lambda: capacity.statistics().held_samples == 1)

    writer.transport.abort()

    began = time.monotonic()
    await _until(lambda: capacity.statistics().held_samples == 0)
    assert time.monotonic() - began < 1.0
    await asyncio.sleep(0.1)
    assert capacity.statistics().admitted == 1  # and nobody works for one who has left


class Wire:
    """A transport that notes what is written, and when it is closed."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.pause_reading = self.resume_reading = self.is_closing = self.get_extra_info = (
            self.close
        )

    def write(self, data: bytes) -> None:
        self.written.append(data)

    def close(self, *_: object) -> None:
        self.written.append(b"(closed)")


HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


async def test_head_and_body_leave_together() -> None:
    wire = Wire()
    writes = JoinedWrites(cast("Any", wire))
    writes.write(HEAD)
    writes.write(b"ok")
    writes.write(b"more")
    await asyncio.sleep(0)

    assert wire.written == [HEAD + b"ok", b"more"]


@pytest.mark.parametrize("closes", [False, True])
async def test_a_head_without_a_body_is_not_kept(closes: bool) -> None:
    wire = Wire()
    writes = JoinedWrites(cast("Any", wire))
    writes.write(HEAD)
    if closes:
        writes.close()
    await asyncio.sleep(0)

    assert wire.written == [HEAD, *([b"(closed)"] if closes else [])]


@bounded(header_timeout_s=2.0)
async def test_two_hundred_slow_callers_hold_up_nobody(server: Running) -> None:
    slow = [await server.connect() for _ in range(200)]
    for _, writer in slow:
        writer.write(b"POST /v1/rewards HTTP/1.1\r\nhost: x\r\n")
    reader, writer = await server.connect()
    for _ in range(20):
        writer.write(post("/v1/rewards", BODY))
        assert (await answer_of(reader, 1.0))[0] == 200

    statuses = [(await answer_of(one, 8.0))[0] for one, _ in slow]

    assert set(statuses) == {408}
    for _, one in slow:
        one.close()
    writer.close()


async def test_the_operators_pages_are_on_their_own_port_only(judge: Scripted) -> None:
    import httpx

    from judge_service.api.process.server import Server, listen

    settings = quiet(admin_port=0)
    app = create_app(settings, environ={}, model=judge)
    sockets = [listen("127.0.0.1", 0), listen("127.0.0.1", 0)]
    urls = [f"http://127.0.0.1:{one.getsockname()[1]}" for one in sockets]
    app.state.admin_port = sockets[1].getsockname()[1]
    server = Server(app, settings.service)
    serving = asyncio.create_task(server.serve(sockets))
    await _until(lambda: server.started)
    async with httpx.AsyncClient() as client:
        found = {
            path: [(await client.get(url + path)).status_code for url in urls]
            for path in ("/metrics", "/openapi.json", "/dashboard", "/ping", "/v1/rewards")
        }
        forged = await client.get(urls[0] + "/metrics", headers={"host": urls[1][7:]})
    server.should_exit = True
    await serving

    assert found == {
        "/metrics": [404, 200],
        "/openapi.json": [404, 200],
        "/dashboard": [404, 200],
        "/ping": [200, 404],
        "/v1/rewards": [405, 404],
    }
    assert forged.status_code == 404


async def _until(true: Any) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110 - it watches the service from outside
            await asyncio.sleep(0.005)
