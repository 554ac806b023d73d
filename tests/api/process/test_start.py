"""`judge serve` as an operator starts it: processes, signals, exit codes."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest

from judge_service.api import create_app
from judge_service.api.process import start as start_module
from judge_service.api.process.server import listen
from judge_service.api.process.start import settings_of_worker
from judge_service.backends.embedded import judge as embedded
from judge_service.errors import SettingsError
from judge_service.settings import LimitSettings, ServiceSettings, Settings
from tests.api.conftest import QUIET, post, row, talking
from tests.cli.conftest import environment  # noqa: F401 - a fixture
from tests.cli.test_crash import simulator, statistics  # noqa: F401 - a fixture

SERVE = [sys.executable, "-m", "judge_service", "serve", "--host", "127.0.0.1", "--port", "0"]
BODY = json.dumps({"samples": [row()]}).encode()

SLOW = """
import sys
from judge_service.api.process import start
from judge_service.backends.scripted import Scripted
from judge_service.settings import load_settings
import os
create = start.create_app
start.create_app = lambda settings: create(settings, model=Scripted(0.5, latency_s={latency_s}))
sys.exit(start.start(load_settings(None, os.environ)))
"""
"""The same service with a judge that takes its time."""


class Process:
    """A service in its own process. port: where it listens."""

    def __init__(self, process: "subprocess.Popen[str]", port: int) -> None:
        self.process = process
        self.port = port

    def get(self, path: str) -> int:
        try:
            with urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except URLError as refused:
            return int(getattr(refused, "code", 0))

    def rewards(self) -> Any:
        request = Request(f"http://127.0.0.1:{self.port}/v1/rewards", BODY)
        with urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def workers(self) -> list[int]:
        pid = self.process.pid
        return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def end(self) -> tuple[int, float]:
        """SIGTERM; the exit code, and how long it took, seconds."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(25), time.monotonic() - began


@contextmanager
def started(command: list[str], **service: Any) -> Iterator[Process]:
    chosen = {"logs_enabled": "false", "service_unready_s": "0.3", **service}
    variables = {f"JUDGE_{name.upper()}": str(value) for name, value in chosen.items()}
    environ = {**os.environ, **variables}
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            port = int(process.stderr.readline().rpartition(":")[2])
            opened = Process(process, port)
            until = time.monotonic() + 20
            while opened.get("/ping") != 200:
                assert time.monotonic() < until, process.stderr.read()
                time.sleep(0.02)
            yield opened
        finally:
            process.kill()


def slow(latency_s: float) -> list[str]:
    return [sys.executable, "-c", SLOW.format(latency_s=latency_s)]


def service_of(**more: Any) -> dict[str, Any]:
    return {"service_host": "127.0.0.1", "service_port": 0, **more}


def test_it_serves_the_embedded_judge_without_any_settings_and_ends_with_0() -> None:
    with started(SERVE) as service:
        (reward,) = service.rewards()["rewards"]
        code, took_s = service.end()

    assert 0 <= reward["score"] <= 1
    assert code == 0
    assert took_s < 5


def test_on_uvloop_it_reaches_a_remote_judge_within_the_quota(
    simulator: str,  # noqa: F811 - the fixture
    environment: dict[str, str],  # noqa: F811 - the fixture
) -> None:
    judge = {
        name.removeprefix("JUDGE_").lower(): value
        for name, value in environment.items()
        if name.startswith("JUDGE_")
    }
    credentials = {name: value for name, value in environment.items() if name.startswith("AWS_")}
    quota = {"limits_requests_per_minute": 600}  # ten a second, five at once
    with pytest.MonkeyPatch.context() as patched:
        for name, value in credentials.items():
            patched.setenv(name, value)
        with started(SERVE, **judge, **quota) as service:
            began = time.monotonic()
            body = {"samples": [row(number, response=f"{number}") for number in range(20)]}
            request = Request(
                f"http://127.0.0.1:{service.port}/v1/rewards", json.dumps(body).encode()
            )
            with urlopen(request, timeout=20) as answer:
                rewards = json.load(answer)["rewards"]
            took_s = time.monotonic() - began

    assert [reward["reason"] for reward in rewards] == [None] * 20
    assert took_s > 1.0
    assert statistics(simulator)["calls"] == 20


async def _ask(port: int) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(post("/v1/rewards", BODY, "connection: close"))
    answer = await reader.read()
    writer.close()
    return int(answer.split()[1]), answer


async def _ask_many(service: Process, count: int) -> tuple[list[tuple[int, bytes]], float]:
    """Sends `count` requests, ends the service while all are in flight, and gives all answers."""
    asking = [asyncio.create_task(_ask(service.port)) for _ in range(count)]
    await asyncio.sleep(1.0)
    began = time.monotonic()
    service.process.send_signal(signal.SIGTERM)
    answers = await asyncio.gather(*asking)
    return answers, time.monotonic() - began


def test_on_sigterm_five_hundred_in_flight_are_all_judged() -> None:
    with started(slow(2.0), **service_of()) as service:
        answers, _ = asyncio.run(_ask_many(service, 500))
        code = service.process.wait(25)

    assert [status for status, _ in answers] == [200] * 500
    assert code == 0


def test_what_takes_longer_than_the_drain_is_told_to_come_again() -> None:
    with started(slow(60.0), **service_of(service_drain_s=1)) as service:
        answers, took_s = asyncio.run(_ask_many(service, 20))
        code = service.process.wait(25)

    assert {status for status, _ in answers} == {503}
    assert all(b"retry-after: " in answer and b"draining" in answer for _, answer in answers)
    assert took_s < 5
    assert code == 0


def test_it_says_that_it_is_not_ready_before_it_stops_listening() -> None:
    with started(slow(0.0), **service_of(service_unready_s=1)) as service:
        service.process.send_signal(signal.SIGTERM)
        time.sleep(0.4)
        while_leaving = service.get("/ping"), service.get("/healthz/live")
        code = service.process.wait(10)

    assert while_leaving == (503, 200)
    assert service.get("/ping") == 0
    assert code == 0


def test_a_second_signal_does_not_wait() -> None:
    with started(slow(60.0), **service_of(service_unready_s=30)) as service:
        service.process.send_signal(signal.SIGINT)
        time.sleep(0.5)
        _, took_s = service.end()

    assert took_s < 5


def test_a_worker_that_dies_is_replaced_and_all_end_together() -> None:
    with started(slow(0.0), **service_of(service_workers=2)) as service:
        first, second = service.workers()
        os.kill(first, signal.SIGKILL)
        until = time.monotonic() + 10
        while first in service.workers() or len(service.workers()) < 2:
            assert service.rewards()["rewards"][0]["score"] == 0.5  # the other one goes on
            assert time.monotonic() < until
            time.sleep(0.05)
        kept = second in service.workers()
        code, took_s = service.end()

    assert kept
    assert code == 0
    assert took_s < 5


def test_workers_end_and_free_the_port_when_the_supervisor_is_killed() -> None:
    with started(slow(1.0), **service_of(service_workers=2)) as service:
        workers = service.workers()
        with ThreadPoolExecutor() as caller:
            answer = caller.submit(service.rewards)
            time.sleep(0.3)
            service.process.kill()
            service.process.wait(5)
            assert answer.result()["rewards"][0]["score"] == 0.5  # what was in flight is finished
        until = time.monotonic() + 10
        while any(map(is_alive, workers)) and time.monotonic() < until:
            time.sleep(0.05)
        left = [pid for pid in workers if is_alive(pid)]
        for pid in left:
            os.kill(pid, signal.SIGKILL)

    assert left == []
    listen("127.0.0.1", service.port).close()


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("workers", [1, 2])
def test_settings_that_cannot_work_end_it_with_one_sentence(workers: int) -> None:
    environ = {**os.environ, "JUDGE_RUBRIC": "nowhere.toml", "JUDGE_SERVICE_WORKERS": f"{workers}"}
    ended = subprocess.run(
        SERVE, env=environ, capture_output=True, text=True, check=False, timeout=20
    )

    assert ended.returncode != 0
    assert "nowhere.toml" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        command = [*SERVE[:-1], f"{port}"]
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)

    assert ended.returncode == 2
    assert f"port {port}" in ended.stderr
    assert "--port" in ended.stderr


@pytest.mark.parametrize(
    ("host", "keys", "is_warned"),
    [
        ("0.0.0.0", "", True),
        ("127.0.0.1", "", False),
        ("::1", "", False),
        ("0.0.0.0", "keys.txt", False),
    ],
)
def test_an_open_port_without_keys_is_told(
    host: str,
    keys: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    is_warned: bool,
) -> None:
    monkeypatch.setattr(start_module, "run_worker", lambda *_: 0)

    service = ServiceSettings(host=host, port=0, api_keys_file=keys)
    assert start_module.start(Settings(service=service)) == 0

    assert ("there are no API keys" in capsys.readouterr().err) == is_warned


def test_workers_without_a_store_share_this_services_part_of_the_quota() -> None:
    settings = Settings(
        limits=LimitSettings(processes=3, requests_per_minute=600),
        service=ServiceSettings(workers=2),
    )

    limits = settings_of_worker(settings, "/run/judge").limits

    assert (limits.store, limits.store_url) == ("file", "/run/judge/quota")
    assert (limits.requests_per_minute, limits.processes) == (200, 2)


def test_workers_with_a_store_share_it_with_the_other_services() -> None:
    settings = Settings(
        limits=LimitSettings(processes=3, requests_per_minute=600, store="redis", store_url="x"),
        service=ServiceSettings(workers=2),
    )

    limits = settings_of_worker(settings, "/run/judge").limits

    assert (limits.store, limits.requests_per_minute, limits.processes) == ("redis", 600, 6)


async def test_no_trainer_is_served_rewards_by_character_overlap(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(embedded, "missing_packages", lambda: ["onnxruntime"])

    with pytest.raises(SettingsError, match="set `backend` and `model`"):
        async with talking(create_app(QUIET, environ={})):
            pass
