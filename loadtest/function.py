"""Measures the Lambda function, compared with a simple handler: cold start, size, and one batch of 64.

    python loadtest/function.py [--starts 15] [--batches 5]

It builds the zip for this interpreter and runs it unpacked, without other packages on its path.

Cold start: the time from the first line of a new interpreter to the arrival of the first judge call, compared
with `import boto3; boto3.client("bedrock-runtime")`. Both have run once before, so both are
compiled. Batch: 64 samples in one invocation with the real runtime client, compared with a handler that
calls boto3 for the samples in sequence, with the same latencies.
"""

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

from environments import BATCH, Invocations, configured, fleet, invoke, rows
from measuring import at_least, at_most, report, say, sizes, spread

from judge_service.packaging.inputs import inputs_of
from judge_service.packaging.package import build
from judge_service.packaging.target import Target
from judge_service.packaging.wheels import default_cache
from judge_service.settings import Settings
from judge_service.simulator import Simulator, SimulatorConfig, simulate

LATENCY_MEDIAN_S = 0.3
NARROW, DEFAULT = 0.1, 0.3
"""Spreads of the judge's log-normal latency: a steady judge, and the simulator's default."""

OURS = (
    "import lambda_adapter.handler as h, json, sys; h.lambda_handler(json.loads(sys.argv[1]), None)"
)
BOTO = "import boto3; boto3.client('bedrock-runtime', region_name='us-east-1')"
TIMED = "import time; began_s = time.monotonic(); {code}; print(began_s, time.monotonic())"
"""The monotonic clock is that of the system, so another process can measure when the first call arrives."""


def main() -> None:
    options = sizes(__doc__, starts=(15, 2), batches=(5, 1))
    with tempfile.TemporaryDirectory() as directory:
        package, size_mb = unpacked(Path(directory))
        starts, shown = cold_starts(package, options.starts)
        batches, latencies = batch_figures(package, options.batches)
    figures = [*starts, at_most("zip for one architecture", size_mb, 8.0, "MB"), *batches]
    report("function", figures, {**shown, "batch": latencies}, smoke=options.smoke)


def unpacked(directory: Path) -> tuple[Path, float]:
    """The unpacked package as in Lambda, and the size of its zip."""
    built = directory / "judge.zip"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    build(  # what `judge package lambda` does; called here, because Lambda has no Python 3.11 to choose
        built,
        "lambda",
        Target(python=version, architecture=platform.machine()),
        Settings(),
        inputs_of(None, Settings(), []),
        cache=default_cache(),
    )
    package = directory / "package"
    with zipfile.ZipFile(built) as archive:
        archive.extractall(package)
    return package, built.stat().st_size / 1e6


# Cold start


def cold_starts(package: Path, starts: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    ours_s, boto_s = [], []
    with first_call() as (url, arrived_s):
        environment = {**configured(url), "PYTHONPATH": str(package)}
        event = json.dumps(rows(0, 1))
        for number in range(starts + 1):
            began_s, _ = run(OURS, environment, event, cwd=package)
            boto = run(BOTO, {**os.environ, "AWS_REGION": "us-east-1"}, cwd=package)
            if number:  # the first of each compiles
                ours_s.append(arrived_s[-1] - began_s)
                boto_s.append(boto[1] - boto[0])
    ratio = median(ours_s) / median(boto_s)
    what = "handler imported and first call sent, over boto3's import and client"
    return [at_most(what, ratio, 0.6, "times")], {
        "first_call_s": spread(ours_s),
        "boto3_client_s": spread(boto_s),
    }


def run(code: str, environment: dict[str, str], *arguments: str, cwd: Path) -> tuple[float, float]:
    """Runs code in a new interpreter. Returns the times of its start and end."""
    command = [sys.executable, "-c", TIMED.format(code=code), *arguments]
    output = subprocess.run(
        command, env=environment, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    began_s, ended_s = output.split()[-2:]
    return float(began_s), float(ended_s)


@contextmanager
def first_call() -> Iterator[tuple[str, list[float]]]:
    """A judge that records the times of its calls, with its URL."""
    arrived_s: list[float] = []
    usage = {"inputTokens": 300, "outputTokens": 2, "totalTokens": 302}
    message = {"role": "assistant", "content": [{"text": "0.5"}]}
    reply = json.dumps(
        {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
    ).encode()

    class Judge(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arrived_s.append(time.monotonic())
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignores the error of a caller that has ended."""

    server = Server(("127.0.0.1", 0), Judge)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", arrived_s
    finally:
        server.shutdown()
        server.server_close()


# One batch


def batch_figures(package: Path, batches: int) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compares with the sequential handler, for a steady judge and for one with slow calls."""
    steady = compare(package, batches, NARROW)
    spread_out = compare(package, batches, DEFAULT)
    times = f"64 samples at 300 ms median, spread {NARROW}: times as fast as one after the other"
    figures = [
        at_least(times, steady["times_as_fast"], 40.0),
        at_most("the same: over the slowest single call", steady["over_slowest"], 1.3, "times"),
        at_most(
            f"the same, spread {DEFAULT}: over the slowest single call",
            spread_out["over_slowest"],
            1.3,
            "times",
        ),
    ]
    return figures, {"steady": steady, "spread_out": spread_out}


def compare(package: Path, batches: int, sigma: float) -> dict[str, Any]:
    """Both at one spread; `most_possible` is the sequential handler's time over the slowest call's."""
    say(f"64 samples, latency spread {sigma}")
    with judge_here(sigma) as judge:
        sequential_s = one_after_the_other(judge.url)
        environment = configured(
            judge.url,
            PYTHONPATH=package,
            JUDGE_CACHE_MAX_ENTRIES=0,
        )
        with fleet(1, environment) as [api]:
            cold, warm = Invocations(), Invocations()
            invoke(api, rows(1_000_000, BATCH), cold)
            slowest_s = []
            for number in range(batches):
                before = judge.statistics().calls
                invoke(api, rows(number * BATCH, BATCH), warm)
                slowest_s.append(slowest(judge, before))
    return {
        "sequential_s": round(sequential_s, 3),
        "batch_s": spread(warm.seconds),
        "cold_batch_s": round(cold.seconds[0], 3),
        "slowest_call_s": spread(slowest_s),
        "times_as_fast": sequential_s / median(warm.seconds),
        "most_possible": sequential_s / median(slowest_s),
        "over_slowest": median(
            [took / slow for took, slow in zip(warm.seconds, slowest_s, strict=True)]
        ),
        "unscored": warm.unscored + cold.unscored,
        "failed": warm.failed + cold.failed,
    }


def one_after_the_other(url: str) -> float:
    """Seconds of the sequential handler for 64 samples, without making its client."""
    code = "import json, sys, sequential_handler as h; event = json.load(sys.stdin)"
    timed = f"{code}; {TIMED.format(code='h.lambda_handler(event, None)')}"
    output = subprocess.run(
        [sys.executable, "-c", timed],
        input=json.dumps(rows(0, BATCH)),
        env=configured(url),
        cwd=Path(__file__).parent,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    began_s, ended_s = map(float, output.split()[-2:])
    return ended_s - began_s


@contextmanager
def judge_here(sigma: float) -> Iterator[Simulator]:
    """Runs the simulator on a thread of this process, so that its log of calls can be read."""
    loop = asyncio.new_event_loop()
    thread = Thread(target=loop.run_forever, daemon=True)
    thread.start()
    opened = simulate(SimulatorConfig(latency_median_s=LATENCY_MEDIAN_S, latency_sigma=sigma))
    try:
        yield asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result(10)
    finally:
        asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def slowest(judge: Simulator, before: int) -> float:
    """The longest latency of the simulator's calls since `before`."""
    return max(call.latency_s for call in judge.events() if call.number > before)


if __name__ == "__main__":
    main()
