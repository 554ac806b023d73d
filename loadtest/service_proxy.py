"""Compares the CPU of an evaluation through the service with a chat completion through LiteLLM's proxy.

    python loadtest/service_proxy.py [--calls 1000] [--rounds 5]

Both have one worker, call the same simulator, which answers at once, and get the same questions over HTTP, in
turns. The proxy needs `.venv-peers` (`make bench-peers`); without it nothing is measured.
"""

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import uvloop
from arrivals import Client, request
from measuring import ROOT, at_most, report, say, simulator, sizes, spread
from rows import requests, row
from serving import Served, cpu_s, free_port, service

PROXY = ROOT / ".venv-peers" / "bin" / "litellm"
KEY = "sk-bench-6f1d0c5e2b7a4938"
IN_FLIGHT = 16
STARTS_WITHIN_S = 120.0
SHARE_OF_CALLS = {"judge": 1.0, "proxy": 0.2}
CONFIG = """
model_list:
  - model_name: judge
    litellm_params: {{model: openai/judge, api_base: "{url}/v1", api_key: none}}
litellm_settings: {{telemetry: false, num_retries: 0}}
general_settings: {{master_key: {key}}}
"""


def main() -> None:
    options = sizes(__doc__, calls=(1_000, 50), rounds=(5, 1))
    if not PROXY.exists():
        sys.exit("there is no .venv-peers with litellm; `make bench-peers` makes it")
    with simulator() as judge, service(judge.url) as served, proxy(judge.url) as peer:
        us = uvloop.run(take_turns(served, peer, options.calls, options.rounds))
    ratios = [mine / other for mine, other in zip(us["judge"], us["proxy"], strict=True)]
    figures = [
        at_most("CPU of an evaluation over LiteLLM proxy's", statistics.median(ratios), 1 / 20)
    ]
    details = {
        "calls_a_round": options.calls,
        "in_flight": IN_FLIGHT,
        "cpu_us_per_evaluation": {kind: spread(values) for kind, values in us.items()},
    }
    report("service_proxy", figures, details, smoke=options.smoke)


@contextmanager
def proxy(judge_url: str) -> Iterator[Served]:
    """LiteLLM's proxy in front of the simulator, ready."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "proxy.yaml"
        config.write_text(CONFIG.format(url=judge_url, key=KEY))
        command = [PROXY, "--config", config, "--host", "127.0.0.1", "--port", str(port)]
        environ = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"}
        say("LiteLLM's proxy starts ...")
        with subprocess.Popen(
            [*command, "--num_workers", "1", "--telemetry", "False"],
            env=environ,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        ) as process:
            try:
                served = Served(process, f"http://127.0.0.1:{port}")
                wait_until_alive(served)
                yield served
            finally:
                process.kill()


def wait_until_alive(served: Served) -> None:
    until_s = time.monotonic() + STARTS_WITHIN_S
    while served.process.poll() is None and time.monotonic() < until_s:
        try:
            with urlopen(f"{served.url}/health/liveliness", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError("LiteLLM's proxy did not start; run it by hand to see why")


def completions() -> Iterator[bytes]:
    """Chat completions about the same samples that the service judges."""
    for number in itertools.count():
        asked = {
            "model": "judge",
            "messages": [{"role": "user", "content": json.dumps(row(number))}],
            "max_tokens": 16,
            "temperature": 0,
        }
        path, key = "/v1/chat/completions", f"Bearer {KEY}"
        yield request(json.dumps(asked).encode(), path, authorization=key)


async def take_turns(
    served: Served, peer: Served, calls: int, rounds: int
) -> dict[str, list[float]]:
    """Microseconds of CPU a call, by kind and round, after one round that is not counted."""
    wires = {"judge": (served, requests()), "proxy": (peer, completions())}
    us: dict[str, list[float]] = {kind: [] for kind in wires}
    for number in range(rounds + 1):
        for kind, (one, asked) in wires.items():
            share = max(IN_FLIGHT, int(calls * SHARE_OF_CALLS[kind]))
            taken_s = await many(one, itertools.islice(asked, share))
            if number:
                us[kind].append(taken_s / share * 1e6)
        say(f"round {number} of {rounds}")
    return us


async def many(one: Served, wires: Iterator[bytes]) -> float:
    """Sends all requests. Returns the CPU seconds."""
    client = Client(one.port)
    before_s = cpu_s(one.pid)
    answers = await client.all(wires, IN_FLIGHT)
    spent_s = cpu_s(one.pid) - before_s
    client.close()
    if bad := [answer for answer in answers if answer.status != 200]:
        raise RuntimeError(
            f"{len(bad)} failed, the first with {bad[0].status}: {bad[0].body[:300]!r}"
        )
    return spent_s


if __name__ == "__main__":
    main()
