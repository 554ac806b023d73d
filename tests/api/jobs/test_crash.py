"""Jobs under real processes and real signals: every row once, and nothing acknowledged is judged again."""

import json
import os
import signal
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from judge_service.api.jobs.job_file import Facts, JobFile
from tests.api.conftest import row
from tests.api.process.test_start import SERVE, Process, started
from tests.cli.conftest import environment  # noqa: F401 - a fixture
from tests.cli.test_crash import simulator, statistics  # noqa: F401 - a fixture

ROWS = 400
Start = Callable[..., AbstractContextManager[Process]]


@pytest.fixture
def start(
    tmp_path: Path,
    environment: dict[str, str],  # noqa: F811 - the fixture
    monkeypatch: pytest.MonkeyPatch,
) -> Start:
    """Starts a service with jobs whose judge is the simulator."""
    for name, value in environment.items():
        if name.startswith(("JUDGE_", "AWS_")):
            monkeypatch.setenv(name, value)
    return partial(started, SERVE, service_jobs_dir=tmp_path / "jobs", limits_max_in_flight=8)


def submit(service: Process) -> str:
    body = "".join(json.dumps(row(n, response=f"answer {n}")) + "\n" for n in range(ROWS))
    request = Request(f"{_url(service)}", body.encode(), {"content-type": "application/x-ndjson"})
    with urlopen(request, timeout=10) as answer:
        assert answer.status == 202
        job_id: str = json.load(answer)["id"]
        return job_id


def status(service: Process, job_id: str) -> Any:
    with urlopen(f"{_url(service)}/{job_id}", timeout=5) as answer:
        return json.load(answer)


def indices(service: Process, job_id: str) -> list[int]:
    with urlopen(f"{_url(service)}/{job_id}/results", timeout=5) as answer:
        *rewards, _ = [json.loads(line) for line in answer]
    return [one["index"] for one in rewards]


def wait(service: Process, job_id: str, wanted: Callable[[Any], bool]) -> None:
    until = time.monotonic() + 20
    while not wanted(seen := status(service, job_id)):
        assert time.monotonic() < until, seen
        time.sleep(0.02)


def on_disk(directory: Path, job_id: str) -> Facts:
    with JobFile(directory / "jobs" / f"{job_id}.sqlite") as job:
        return job.facts()


def _url(service: Process) -> str:
    return f"http://127.0.0.1:{service.port}/v1/jobs"


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_goes_on_where_it_was_stopped(
    start: Start,
    tmp_path: Path,
    simulator: str,  # noqa: F811 - the fixture
    stop: signal.Signals,
) -> None:
    with start() as service:
        job_id = submit(service)
        wait(service, job_id, lambda seen: seen["done"] >= ROWS // 4)
        acknowledged = indices(service, job_id)
        service.process.send_signal(stop)
        code = service.process.wait(20)
    kept = on_disk(tmp_path, job_id).done
    calls_before = statistics(simulator)["calls"]
    with start() as service:
        wait(service, job_id, lambda seen: seen["state"] == "done")
        found = indices(service, job_id)
    calls_after = statistics(simulator)["calls"]

    assert code == (0 if stop == signal.SIGTERM else -signal.SIGKILL)
    assert ROWS // 4 <= len(acknowledged) <= kept < ROWS
    assert found == list(range(ROWS))
    assert calls_after - calls_before == ROWS - kept
    if stop == signal.SIGTERM:
        assert calls_before == kept  # what it had begun it finished and wrote down


def test_another_worker_takes_over_the_job_of_one_that_dies(start: Start) -> None:
    with start(service_workers=2) as service:
        job_id = submit(service)
        wait(service, job_id, lambda seen: seen["done"] >= ROWS // 4)
        (holder,) = holders(service, job_id)
        os.kill(holder, signal.SIGKILL)
        wait_for_holder(service, job_id, holder)
        wait(service, job_id, lambda seen: seen["state"] == "done")
        found = indices(service, job_id)

    assert found == list(range(ROWS))


def holders(service: Process, job_id: str) -> list[int]:
    """The workers that have the job's lock open."""
    return [pid for pid in service.workers() if _has_open(pid, f"{job_id}.lock")]


def wait_for_holder(service: Process, job_id: str, dead: int) -> None:
    until = time.monotonic() + 10
    while not [pid for pid in holders(service, job_id) if pid != dead]:
        assert time.monotonic() < until, "nobody takes over"
        time.sleep(0.02)


def _has_open(pid: int, name: str) -> bool:
    try:
        return any(one.readlink().name == name for one in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:  # closed, or ended, while we looked
        return False
