"""Real processes, a real kill -9: what was acknowledged is neither lost nor judged again."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from judge_service.cli.journal import Journal, journal_path
from tests.cli.conftest import IN_FLIGHT, JUDGE, read_lines, row, started, write_rows

ROWS = 1_200


@pytest.fixture
def simulator() -> Iterator[str]:
    """The URL of a simulator that answers in about 20 ms."""
    flags = ["--port", "0", "--latency-median-s", "0.02"]
    with started("simulate", *flags, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield process.stdout.readline().split()[3]


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
        assert "the same command continues from there" in said

    subprocess.run([*JUDGE, *command], env=environment, check=True, timeout=40)

    assert [line["id"] for line in read_lines(output)] == list(range(ROWS))
    assert statistics(simulator)["calls"] == at_stop + ROWS - kept
    # answered but not yet committed: 20 ms and what was in flight
    assert at_stop - kept <= 8 * IN_FLIGHT
