"""Starts the service in a separate process for the load tests, with `judge serve` like an operator."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

import psutil
from measuring import ENVIRON, MODEL

READY_WITHIN_S = 30.0
QUIET = {
    "JUDGE_CACHE_MAX_ENTRIES": "0",
    "JUDGE_LIMITS_MAX_IN_FLIGHT": "2000",
    "JUDGE_LIMITS_ADAPTIVE": "false",
    "JUDGE_SERVICE_HOST": "127.0.0.1",
}
"""Settings with which every sample needs a judge call, and no limit is reached except the measured one."""


class Served:
    """A running service. url: its address. pid: id of the started process."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str) -> None:
        self.process = process
        self.url = url
        self.pid = process.pid

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    def cpu_s(self) -> float:
        """CPU seconds of the process and its workers, user and system."""
        return cpu_s(self.pid)

    def rss_mb(self) -> float:
        """Resident memory of the process and its workers."""
        return sum(process.memory_info().rss for process in _family(self.pid)) / 1e6

    def stop(self, timeout_s: float = 30.0) -> tuple[int, float]:
        """Sends SIGTERM. Returns the exit code and the seconds until the end."""
        began_s = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s), time.monotonic() - began_s


@contextmanager
def service(judge_url: str = "", **settings: object) -> Iterator[Served]:
    """Starts `judge serve` on a free port, and waits until it is ready.

    judge_url: address of the simulator; without it the embedded judge is used.
    settings: by the names of their variables without the prefix, `limits_requests_per_minute=6000`.
    """
    port = free_port()
    command = [sys.executable, "-m", "judge_service", "serve"]
    environ = {**os.environ, **_variables(judge_url, port, settings)}
    # a line for each sample goes to stdout; writing it is a part of the measurement
    with subprocess.Popen(command, env=environ, stdout=subprocess.DEVNULL) as process:
        served = Served(process, f"http://127.0.0.1:{port}")
        try:
            _wait_until_ready(served)
            yield served
        finally:
            if process.poll() is None:
                process.kill()


def _variables(judge_url: str, port: int, settings: Mapping[str, object]) -> dict[str, str]:
    judge = {}
    if judge_url:
        judge = {
            **ENVIRON,
            "JUDGE_BACKEND": "bedrock",
            "JUDGE_MODEL": MODEL,
            "JUDGE_BEDROCK_ENDPOINT_URL": judge_url,
        }
    given = {f"JUDGE_{name.upper()}": str(value) for name, value in settings.items()}
    return {**QUIET, "JUDGE_SERVICE_PORT": str(port), **judge, **given}


def _wait_until_ready(served: Served) -> None:
    until_s = time.monotonic() + READY_WITHIN_S
    while served.process.poll() is None and time.monotonic() < until_s:
        try:
            with urlopen(f"{served.url}/ping", timeout=1):
                return
        except (HTTPError, URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError("the service did not become ready; its own message is above")


def free_port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and its descendants, user and system."""
    times = [process.cpu_times() for process in _family(pid)]
    return sum(one.user + one.system for one in times)


def _family(pid: int) -> list[psutil.Process]:
    """A process and its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
