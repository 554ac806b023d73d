"""A Redis server of our own, for benchmarks that share a quota."""

import shutil
import socket
import subprocess
import tempfile
import time
from typing import Self


class Redis:
    """A server of our own, without persistence: it always starts empty."""

    def __init__(self) -> None:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            raise SystemExit(
                "there is no redis-server on PATH; install it: apt-get install redis-server"
            )
        self._program = found
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.url = f"redis://127.0.0.1:{self._port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        options = ["--port", str(self._port), "--save", "", "--dir", tempfile.gettempdir()]
        command = [self._program, "--bind", "127.0.0.1", *options]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        until_s = time.monotonic() + 5
        while not self._answers():
            if time.monotonic() > until_s:
                raise RuntimeError("redis-server does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=0.2):
                return True
        except OSError:
            return False
