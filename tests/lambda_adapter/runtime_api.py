"""A local Lambda Runtime API, for driving the real `awslambdaric` with our handler under it."""

import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ANSWER_TIMEOUT_S = 30.0


class RuntimeApi:
    """Hands events to a runtime client and collects its answers.

    All headers of the real service are sent, because the client's native part crashes without them.
    pid: of the process it feeds.
    """

    pid = 0

    def __init__(self) -> None:
        self._events: queue.Queue[tuple[str, Any, float] | None] = queue.Queue()
        self._answers: queue.Queue[tuple[str, bytes]] = queue.Queue()
        self.snapshot_taken, self.restored = threading.Event(), threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path.endswith("/restore/next"):
                    api.snapshot_taken.set()
                    api.restored.wait(ANSWER_TIMEOUT_S)
                    self._send(200, {}, b"")
                    return
                event = api._events.get()
                if event is None:
                    self.close_connection = True
                    return
                self._send(200, api._headers(*event), json.dumps(event[1]).encode())

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api._answers.put((self.path.rpartition("/")[2], body))
                self._send(202, {}, b'{"status": "OK"}')

            def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Keeps the test's output clean."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._server.server_port}"

    def invoke(self, event: Any, *, timeout_s: float = 20.0) -> tuple[str, Any]:
        """Sends an event and waits; gives `response` or `error`, and the parsed body."""
        self._events.put((f"request-{time.monotonic_ns()}", event, timeout_s))
        kind, body = self._answers.get(timeout=ANSWER_TIMEOUT_S)
        return kind, json.loads(body, parse_constant=_refuse)

    def close(self) -> None:
        self._events.put(None)
        self._server.shutdown()
        self._server.server_close()

    @staticmethod
    def _headers(request_id: str, _event: Any, timeout_s: float) -> dict[str, str]:
        return {
            "Content-Type": "application/json",
            "Lambda-Runtime-Aws-Request-Id": request_id,
            "Lambda-Runtime-Deadline-Ms": str(int((time.time() + timeout_s) * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": (
                "arn:aws:lambda:us-east-1:123456789012:function:SageMaker-judge"
            ),
            "Lambda-Runtime-Trace-Id": "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0",
            "Lambda-Runtime-Client-Context": "",
            "Lambda-Runtime-Cognito-Identity": "",
        }


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


@contextmanager
def function(**environment: str) -> Iterator[RuntimeApi]:
    """Our handler under the real runtime client, in a process of its own."""
    api = RuntimeApi()
    process = subprocess.Popen(
        [sys.executable, "-m", "awslambdaric", "lambda_adapter.handler.lambda_handler"],
        env={
            **os.environ,
            "AWS_LAMBDA_RUNTIME_API": api.address,
            "AWS_EXECUTION_ENV": "AWS_Lambda_python3.12",
            "AWS_LAMBDA_FUNCTION_NAME": "SageMaker-judge",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
            **environment,
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    api.pid = process.pid
    try:
        yield api
    finally:
        process.kill()
        process.wait()
        api.close()
