"""Real processes, a real kill -9: what was acknowledged is neither lost nor judged again."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from judge_service.cli.journal import Journal, journal_path
from tests.cli.conftest import read_lines, row, write_rows

ROWS = 1_200
IN_FLIGHT = 16
JUDGE = [sys.executable, "-m", "judge_service"]


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that is gone when the block ends."""
    process = subprocess.Popen([*JUDGE, *arguments], text=True, **options)
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


@pytest.fixture
def simulator() -> Iterator[str]:
    """The URL of a simulator that answers in about 20 ms."""
    flags = ["--port", "0", "--latency-median-s", "0.02"]
    with started("simulate", *flags, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3]


@pytest.fixture
def environment(simulator: str) -> dict[str, str]:
    """What points a judge at the simulator, and nothing of the caller's own settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUDGE_", "AWS_"))
    }
    return kept | {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "simulated",
        "JUDGE_BEDROCK_REGION": "us-east-1",
        "JUDGE_BEDROCK_ENDPOINT_URL": simulator,
        "JUDGE_LIMITS_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


def statistics(url: str) -> dict[str, Any]:
    with urlopen(f"{url}/simulator/statistics", timeout=5) as reply:
        return json.load(reply)


def wait_for_calls(url: str, calls: int) -> None:
    until = time.monotonic() + 30
    while statistics(url)["answered"] < calls:
        assert time.monotonic() < until, "the judge does not call"
        time.sleep(0.005)


def acknowledged(output: Path) -> int:
    with Journal(journal_path(output)) as journal:
        return len(list(journal.entries(ROWS)))


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_stopped_run_goes_on_where_it_was(
    tmp_path: Path, simulator: str, environment: dict[str, str], stop: signal.Signals
) -> None:
    rows = [row(i, prompt=f"question {i // 4}", answer=f"answer {i}") for i in range(ROWS)]
    source, output = write_rows(tmp_path / "in.jsonl", rows), tmp_path / "out.jsonl"
    command = ["score", str(source), "-o", str(output), "--quiet"]

    with started(*command, env=environment, stderr=subprocess.PIPE) as process:
        wait_for_calls(simulator, ROWS // 12)
        process.send_signal(stop)
        _, said = process.communicate(timeout=20)
    kept = acknowledged(output)
    at_stop = statistics(simulator)["calls"]
    assert 0 < kept < ROWS
    assert not output.exists()
    if stop == signal.SIGINT:
        assert process.returncode == 130
        assert "the same command goes on from there" in said

    subprocess.run([*JUDGE, *command], env=environment, check=True, timeout=40)

    assert [line["id"] for line in read_lines(output)] == list(range(ROWS))
    assert statistics(simulator)["calls"] == at_stop + ROWS - kept
    # answered but not yet committed: 20 ms and what was in flight
    assert at_stop - kept <= 8 * IN_FLIGHT
