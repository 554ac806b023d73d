"""`make load`: its shapes, its table, and the locustfile on a server that answers rightly or wrongly."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

Script = Callable[[str], ModuleType]
LOCUSTFILE = Path(__file__).parent.parent.parent / "loadtest" / "locustfile.py"
RIGHT: Callable[[Any], Any] = lambda sample: {"id": sample["id"], "score": 0.5}  # noqa: E731 - short, and typed


def test_a_ramp_goes_up_by_tenths_and_reaches_its_height(script: Script) -> None:
    ramp = script("shapes").ramp

    assert [ramp(share) for share in (0.0, 0.45, 0.95)] == [0.1, 0.5, 1.0]


def test_a_spike_is_four_times_the_load_for_a_fifth_of_the_time(script: Script) -> None:
    spike = script("shapes").spike

    assert [spike(share / 10) for share in range(10)] == [1, 1, 1, 1, 4, 4, 1, 1, 1, 1]


@pytest.mark.parametrize(("percent", "expected"), [(50, 10), (90, 20), (100, 300)])
def test_quantiles_are_read_out_of_locusts_histogram(
    script: Script, percent: float, expected: float
) -> None:
    times = {"300": 1, "10": 50, "20": 49}

    assert script("load").quantile(times, percent) == expected


def test_failed_requests_are_no_evaluations(script: Script) -> None:
    entry = {
        "name": "batch (64)",
        "num_requests": 11,
        "num_failures": 1,
        "start_time": 100.0,
        "last_request_timestamp": 110.0,
        "response_times": {"10": 11},
    }

    line = script("load").line_of(entry)

    assert (line["evaluations"], line["evaluations_per_s"], line["failed"]) == (640, 64.0, 1)


@asynccontextmanager
async def answering(answer: Callable[[Any], Any]) -> AsyncIterator[str]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length:")[2].split()[0])
                samples = json.loads(await reader.readexactly(size))["samples"]
                body = json.dumps({"rewards": [answer(sample) for sample in samples]}).encode()
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def locust(url: str) -> dict[str, Any]:
    """Locust's statistics by name, after a second of every kind of caller."""
    command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--headless", "--host", url]
    command += ["--users", "3", "--run-time", "1", "--shape", "spike", "--json", "--skip-log"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    said, _ = await process.communicate()
    return {entry["name"]: entry for entry in json.loads(said)}


async def test_every_caller_is_content_with_a_right_answer() -> None:
    async with answering(RIGHT) as url:
        entries = await locust(url)

    assert entries.keys() == {"single (1)", "batch (64)", "rank (4)"}
    for entry in entries.values():
        assert entry["num_requests"] > 0
        assert entry["num_failures"] == 0


async def test_a_sample_that_was_not_judged_is_a_failure() -> None:
    async with answering(lambda sample: {"id": sample["id"], "score": None}) as url:
        entries = await locust(url)

    for entry in entries.values():
        assert entry["num_failures"] == entry["num_requests"] > 0


async def test_a_reward_under_another_id_is_a_failure() -> None:
    async with answering(lambda sample: {"id": sample["id"] + 1, "score": 0.5}) as url:
        entries = await locust(url)

    for entry in entries.values():
        assert entry["num_failures"] == entry["num_requests"] > 0


def test_every_benchmark_of_the_service_is_there_and_documented(script: Script) -> None:
    page = (LOCUSTFILE.parent.parent / "docs" / "loadtest.md").read_text()

    for name in (*script("service").NAMES, "load", "image"):
        assert (LOCUSTFILE.parent / f"{name}.py").exists()
        assert f"<!-- figures:{name} -->" in page
