"""A fixture with a real redis-server on a free port."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from blockbuster import BlockBuster

STARTS_WITHIN_S = 5.0


class RedisServer:
    """A server without persistence, so that it always starts empty."""

    def __init__(self, program: str, directory: Path) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until = time.monotonic() + STARTS_WITHIN_S
        while not answers(self.port):
            assert self._process.poll() is None, "redis-server ended at once"
            assert time.monotonic() < until, "redis-server does not answer"
            time.sleep(0.01)

    def send(self, what: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(what)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=0.2) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


def find_redis_server() -> str | None:
    """On PATH (redis-server or Valkey's), or beside this Python, where a wheel puts it."""
    beside = str(Path(sys.executable).parent)
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name) or shutil.which(name, path=beside):
            return found
    return None


@pytest.fixture(scope="session")
def _redis_program() -> str:
    program = find_redis_server()
    if program is None and os.environ.get("CI", "").lower() == "true":
        pytest.fail(
            "no redis-server on PATH: install it (apt-get install redis-server), CI needs it"
        )
    if program is None:
        pytest.skip("no redis-server on PATH: apt-get install redis-server")
    return program


@pytest.fixture(scope="session")
def _running_redis(
    _redis_program: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer]:
    server = RedisServer(_redis_program, tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def redis_server(_running_redis: RedisServer) -> RedisServer:
    """A server shared by all tests: use a quota of your own."""
    return _running_redis


@pytest.fixture
def own_redis_server(_redis_program: str, tmp_path: Path) -> Iterator[RedisServer]:
    """A server to kill and to stop."""
    server = RedisServer(_redis_program, tmp_path)
    server.start()
    yield server
    server.kill()


@pytest.fixture(autouse=True)
def _stores_may_block(_no_blocking: BlockBuster) -> None:
    """When a store is opened: one reads its script, one botocore's service model. The file always."""
    for function in _no_blocking.functions.values():
        function.can_block_in("judge_service/flow/stores/redis.py", {"__init__"})
        function.can_block_in(
            "judge_service/flow/stores/file.py", {"_answer", "_try_to_lock", "_open"}
        )
        function.can_block_in("judge_service/flow/stores/dynamodb.py", {"__init__", "_open"})
