"""Admitted work is cancelled when its caller leaves or the service stops. Virtual time, no sockets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fastapi import FastAPI

from judge_service.api import create_app
from judge_service.api.admission.admitted_request import ClientGone
from judge_service.api.admission.loop_lag import LoopLag
from judge_service.api.app import capacity_of
from judge_service.backends.scripted import Scripted
from judge_service.service import open_service
from judge_service.testing import run_virtual
from tests.api.conftest import quiet, row


class Call:
    """One request as a server would hand it over, and its end."""

    def __init__(self, app: FastAPI, *chunks: bytes, path: str = "/v1/rewards") -> None:
        self.status = 0
        self.body = b""
        self.headers: dict[bytes, bytes] = {}
        self.is_cancelled = False
        self._app = app
        self._path = path
        self._inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for number, chunk in enumerate(chunks, 1):
            self.arrives(chunk, more=number < len(chunks))

    def arrives(self, chunk: bytes, *, more: bool) -> None:
        self._inbox.put_nowait({"type": "http.request", "body": chunk, "more_body": more})

    def hangs_up(self) -> None:
        self._inbox.put_nowait({"type": "http.disconnect"})

    async def run(self, *headers: tuple[bytes, bytes]) -> "Call":
        scope = {"type": "http", "method": "POST", "path": self._path, "query_string": b""}
        await self._app({**scope, "headers": list(headers)}, self._inbox.get, self._send)
        task = asyncio.current_task()
        assert task is not None
        self.is_cancelled = task.cancelling() > 0
        return self

    async def _send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status, self.headers = message["status"], dict(message["headers"])
        self.body += message.get("body", b"")

    @property
    def code(self) -> str:
        return str(json.loads(self.body)["error"]["code"])


def body(*numbers: int) -> bytes:
    return json.dumps({"samples": [row(one) for one in numbers]}).encode()


def scenario(
    play: Callable[[FastAPI, Scripted], Awaitable[None]], *, latency_s: float = 10.0, **service: Any
) -> None:
    judge = Scripted(0.5, latency_s=latency_s)
    settings = quiet(**service)
    app = create_app(settings)

    async def with_the_service_open() -> None:
        # not by the lifespan, which writes its last lines on a thread, outside of virtual time
        async with open_service(settings, environ={}, model=judge) as opened:
            with LoopLag() as lag:
                app.state.judge, app.state.capacity = opened, capacity_of(opened, lag)
                await play(app, judge)
            held = app.state.capacity.statistics()
            assert (held.held_samples, held.held_bytes) == (0, 0)
            assert not app.state.admitted

    run_virtual(with_the_service_open())


def test_a_caller_that_leaves_takes_its_work_with_it() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app, body(1, 2, 3))
        running = asyncio.create_task(call.run())
        await asyncio.sleep(1)
        assert app.state.capacity.statistics().held_samples == 3

        call.hangs_up()
        await asyncio.sleep(0.001)

        assert running.done()
        assert (call.status, call.body) == (0, b"")
        await running  # without an error: nobody is left to be told

    scenario(play)


def test_work_that_had_not_begun_is_never_begun() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app, body(*range(2000)))
        running = asyncio.create_task(call.run())
        await asyncio.sleep(1)
        asked = len(judge.prompts)

        call.hangs_up()
        await asyncio.sleep(20)

        assert running.done()
        assert asked == len(judge.prompts) < 2000

    scenario(play)


def test_a_caller_that_leaves_while_it_sends_is_no_error() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app)
        call.arrives(b'{"samples":', more=True)
        running = asyncio.create_task(call.run())
        await asyncio.sleep(1)
        call.hangs_up()

        await running

        assert (call.status, judge.prompts) == (0, [])

    scenario(play)


def test_a_body_that_takes_too_long_is_refused() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app)
        call.arrives(b'{"samples":', more=True)

        began = asyncio.get_running_loop().time()
        await call.run()

        assert (call.status, call.code) == (408, "body_too_slow")
        assert asyncio.get_running_loop().time() - began == pytest.approx(5.0)

    scenario(play, body_timeout_s=5.0)


def test_a_body_that_grows_too_large_is_refused_while_it_arrives() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app)
        for _ in range(3):
            call.arrives(b"x" * 1000, more=True)

        await call.run()  # the end of the body never comes

        assert (call.status, call.code) == (413, "body_too_large")

    scenario(play, max_body_bytes=2048)


def test_a_declared_length_that_is_too_large_is_refused_before_a_byte_is_read() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        for length in (b"2049", b"9" * 5000):
            assert (await Call(app).run((b"content-length", length))).status == 413

    scenario(play, max_body_bytes=2048)


@pytest.mark.parametrize("encoding", [b"gzip", b"br", b"identity, gzip", b"zstd"])
def test_a_compressed_body_is_refused_before_a_byte_is_read(encoding: bytes) -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = await Call(app).run((b"content-encoding", encoding))

        assert (call.status, call.code) == (415, "unsupported_encoding")

    scenario(play)


def test_a_full_service_refuses_before_a_byte_is_read() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        first = asyncio.create_task(Call(app, body(*range(10))).run())
        await asyncio.sleep(1)

        late = await Call(app).run()  # its body never arrives

        assert (late.status, late.code) == (503, "overloaded")
        assert int(late.headers[b"retry-after"]) >= 1
        assert (await first).status == 200

    scenario(play, max_held_samples=10)


def test_bodies_that_arrive_are_held_up_to_a_bound_and_released() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        first = Call(app)
        first.arrives(b" " * 3000, more=True)
        running = asyncio.create_task(first.run())
        await asyncio.sleep(1)
        assert app.state.capacity.statistics().held_bytes == 3000

        second = await Call(app, b" " * 3000).run()
        assert (second.status, second.code) == (503, "overloaded")

        first.arrives(body(1), more=False)
        assert (await running).status == 200

    scenario(play, max_held_bytes=4000)


def test_the_time_that_a_body_took_is_taken_from_its_deadline() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        call = Call(app)
        running = asyncio.create_task(call.run((b"x-judge-timeout-s", b"12")))
        await asyncio.sleep(4)
        call.arrives(body(1), more=False)

        began = asyncio.get_running_loop().time()
        await running

        assert json.loads(call.body)["rewards"][0]["reason"] == "deadline"
        assert asyncio.get_running_loop().time() - began <= 8.0

    scenario(play)


def test_what_is_told_to_end_is_answered_with_its_reason() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        running = asyncio.create_task(Call(app, body(1)).run())
        await asyncio.sleep(1)
        for admitted in tuple(app.state.admitted):
            admitted.end(app.state.capacity.draining())
            admitted.end(ClientGone())  # the first reason is the one

        call = await running

        assert (call.status, call.code) == (503, "draining")
        assert not call.is_cancelled

    scenario(play)


def test_an_end_that_comes_with_the_last_step_of_the_work_strikes_nobody_else() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        score = app.state.judge.score

        async def ended_at_the_last_step(*samples: Any, **how: Any) -> Any:
            rewards = await score(*samples, **how)
            (admitted,) = app.state.admitted
            admitted.end(app.state.capacity.draining())
            return rewards

        app.state.judge.score = ended_at_the_last_step
        call = await Call(app, body(1)).run()

        assert (call.status, call.code) == (503, "draining")
        await asyncio.sleep(1)

    scenario(play, latency_s=0.0)


def test_a_cancelled_server_task_is_cancelled() -> None:
    async def play(app: FastAPI, judge: Scripted) -> None:
        running = asyncio.create_task(Call(app, body(1)).run())
        await asyncio.sleep(1)
        running.cancel()

        with pytest.raises(asyncio.CancelledError):
            await running

    scenario(play)
