"""Measures the CPU of the simulator's process per call, with a raw client in another process.

    python loadtest/simulator_cost.py [--calls 40000] [--rounds 5]

Writes `loadtest/results/simulator_cost.json`.
"""

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

RESULT = Path(__file__).parent / "results" / "simulator_cost.json"
SERVE = """
import sys, msgspec
from judge_service.simulator import SimulatorConfig, run
config = msgspec.convert(msgspec.json.decode(sys.argv[1]), SimulatorConfig)
run(config, port=0, on_ready=lambda simulator: print(simulator.url, flush=True))
"""
HEADERS = (
    "host: bedrock-runtime.us-east-1.amazonaws.com\r\ncontent-type: application/json\r\n"
    "accept: */*\r\nuser-agent: simulator-cost\r\namz-sdk-request: attempt=1\r\n"
    "amz-sdk-invocation-id: 3d7a2f52-6a5f-4d8e-9a30-0c9d5b0f4a11\r\nx-amz-date: 20261121T082947Z\r\n"
    "authorization: AWS4-HMAC-SHA256 Credential=AK/20261121/us-east-1/bedrock/aws4_request,"
    f" SignedHeaders=content-type;host;x-amz-date, Signature={'0' * 64}\r\n"
)
BEDROCK = {"latency_median_s": 0.3, "requests_per_minute": 1e7, "tokens_per_minute": 1e10}
SCENARIOS: dict[str, tuple[dict[str, Any], int]] = {
    "text, at once": ({}, 64),
    "schema of four criteria, at once": ({}, 64),
    "text, 300 ms median, quotas on, half loaded": (BEDROCK, 2_000),
    "text, 300 ms median, quotas on, saturated": (BEDROCK, 6_000),
}
"""Configuration and connections."""


class Spent(NamedTuple):
    """The cost of calls: CPU of the simulator's process, and wall time."""

    cpu_s: float
    elapsed_s: float


def request_bytes(number: int, *, schema: bool) -> bytes:
    """A call with a prompt of about 1.2 kB, different for each number."""
    prompt = f"<response-{number:016x}> sample {number}: " + "Paris is the capital of France. " * 36
    body: dict[str, Any] = {
        "messages": [{"role": "user", "content": [{"text": prompt}]}],
        "system": [{"text": "Rate the similarity from 0 to 1. Answer with the number only."}],
        "inferenceConfig": {"maxTokens": 100, "temperature": 0.0},
    }
    if schema:
        names = ("correctness", "safety", "format", "conciseness")
        properties = {name: {"type": "integer", "enum": [0, 1, 2, 3, 4]} for name in names}
        text = json.dumps(
            {"type": "object", "properties": properties, "additionalProperties": False}
        )
        structure = {"jsonSchema": {"name": "verdict", "schema": text}}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": structure}}
    content = json.dumps(body).encode()
    line = "POST /model/us.amazon.nova-lite-v1%3A0/converse HTTP/1.1\r\n"
    return f"{line}{HEADERS}content-length: {len(content)}\r\n\r\n".encode() + content


def cpu_s(process_id: int) -> float:
    """User and system time of a process, seconds (Linux)."""
    fields = Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def converse(streams: list[Stream], calls: range, *, schema: bool) -> None:
    """Makes the calls over these connections, each waiting for its answer."""
    numbers = iter(calls)

    async def one_client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for number in numbers:
            writer.write(request_bytes(number, schema=schema))
            reply_head = await reader.readuntil(b"\r\n\r\n")
            if not reply_head.startswith(b"HTTP/1.1 200 "):
                raise RuntimeError(f"the simulator answered {reply_head[:80]!r}")
            length = reply_head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))

    await asyncio.gather(*(one_client(*stream) for stream in streams))


async def spend(process_id: int, url: str, calls: int, connections: int, *, schema: bool) -> Spent:
    """Warms up with two calls a connection, then measures the calls."""
    address = urlsplit(url)
    streams = [
        await asyncio.open_connection(address.hostname, address.port) for _ in range(connections)
    ]
    await converse(streams, range(2 * connections), schema=schema)
    before_s, started_s = cpu_s(process_id), time.perf_counter()
    await converse(streams, range(2 * connections, 2 * connections + calls), schema=schema)
    spent = Spent(cpu_s(process_id) - before_s, time.perf_counter() - started_s)
    for _, writer in streams:
        writer.close()
    return spent


def measure(name: str, config: dict[str, Any], calls: int, connections: int) -> dict[str, Any]:
    """Measures one scenario with a new process."""
    command = [sys.executable, "-c", SERVE, json.dumps(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().strip() if process.stdout else ""
        schema = name.startswith("schema")
        spent = asyncio.run(spend(process.pid, url, calls, connections, schema=schema))
    finally:
        process.terminate()
        process.wait()
    return {
        "scenario": name,
        "calls": calls,
        "connections": connections,
        "cpu_us_per_call": round(spent.cpu_s / calls * 1e6, 1),
        "calls_per_s": round(calls / spent.elapsed_s),
    }


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The least disturbed round, and the cost of every round."""
    best = min(rows, key=lambda row: row["cpu_us_per_call"])
    return {**best, "cpu_us_per_call_by_round": [row["cpu_us_per_call"] for row in rows]}


def main() -> None:
    """Measures every scenario and writes the result with its environment."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    rounds = [
        measure(name, config, arguments.calls, connections)
        for _ in range(arguments.rounds)
        for name, (config, connections) in SCENARIOS.items()
    ]
    rows = [summary([row for row in rounds if row["scenario"] == name]) for name in SCENARIOS]
    environment = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "load_average_1_min": round(os.getloadavg()[0], 1),
    }
    RESULT.parent.mkdir(exist_ok=True)
    text = json.dumps({"environment": environment, "results": rows}, indent=2)
    RESULT.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
