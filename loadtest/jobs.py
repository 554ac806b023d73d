"""Measures a job of 20,000 rows with a kill -9 in the middle: after the restart every row has one result.

    python loadtest/jobs.py [--rows 20000]

Every row is different and nothing is cached, so a row that is judged twice is an extra call.
"""

import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from measuring import at_least, at_most, report, say, simulator, sizes
from rows import row
from serving import Served, service

from judge_service.api.jobs.job_file import JobFile

JUDGE = {"latency_median_s": 0.3}
MAX_IN_FLIGHT = 256
WITHIN_S = 300.0


def main() -> None:
    options = sizes(__doc__, rows=(20_000, 400))
    with tempfile.TemporaryDirectory() as directory, simulator(**JUDGE) as judge:
        seen = kill_and_resume(judge, Path(directory), options.rows)
    figures = [
        at_least("results once each", once_each(seen["results"], options.rows), options.rows),
        at_most("results in all", len(seen["results"]), options.rows),
        at_most("rows not scored", seen["unscored"], 0),
        at_most("acknowledged results that changed or went", seen["lost"], 0),
        at_most("acknowledged rows judged again", seen["calls_after"] - seen["left"], 0),
        at_most("kill -9 to the first new result", seen["resumed_after_s"], 10, "s"),
    ]
    details = {name: value for name, value in seen.items() if name != "results"}
    report("jobs", figures, {"rows": options.rows, **details}, smoke=options.smoke)


def kill_and_resume(judge: Any, directory: Path, rows: int) -> dict[str, Any]:
    """The observations before the kill, between kill and restart, and after."""
    settings = {"service_jobs_dir": directory, "limits_max_in_flight": MAX_IN_FLIGHT}
    with service(judge.url, **settings) as served:
        began_s = time.monotonic()
        job = ask(served, "", lines(rows))
        taken_s = time.monotonic() - began_s
        say(f"{rows:,} rows taken in {taken_s:.1f} s")
        wait(served, job["id"], rows // 2)
        acknowledged = results(served, job["id"])
        served.process.kill()
        served.process.wait()
    killed_s = time.monotonic()
    with JobFile(directory / f"{job['id']}.sqlite") as file:
        kept = file.facts().done
    say(f"killed with {kept:,} results on disk")
    calls_before = judge.statistics()["calls"]
    with service(judge.url, **settings) as served:
        wait(served, job["id"], kept + 1)
        resumed_after_s = time.monotonic() - killed_s
        status = wait(served, job["id"], rows)
        found = results(served, job["id"])
    calls = judge.statistics()["calls"]
    return {
        "results": found,
        "acknowledged_before_the_kill": len(acknowledged),
        "on_disk_after_the_kill": kept,
        "left": rows - kept,
        "calls_before": calls_before,
        "calls_after": calls - calls_before,
        "lost": len(set(acknowledged) - set(found)),
        "unscored": sum(json.loads(line)["score"] is None for line in found),
        "taken_in_s": round(taken_s, 2),
        "resumed_after_s": round(resumed_after_s, 2),
        "rows_per_s_of_the_second_run": status["per_s"],
    }


def lines(rows: int) -> bytes:
    return b"".join(json.dumps(row(number)).encode() + b"\n" for number in range(rows))


def ask(served: Served, path: str, body: bytes | None = None) -> Any:
    headers = {"content-type": "application/x-ndjson"}
    with urlopen(Request(f"{served.url}/v1/jobs{path}", body, headers), timeout=60) as answer:
        return json.load(answer)


def results(served: Served, job_id: str) -> list[bytes]:
    """The lines without the last one, which is the job's status."""
    with urlopen(f"{served.url}/v1/jobs/{job_id}/results", timeout=60) as answer:
        return list(answer)[:-1]


def wait(served: Served, job_id: str, done: int) -> Any:
    """Waits until `done` rows are done. Returns the last status before that with a rate."""
    until_s = time.monotonic() + WITHIN_S
    last = status = ask(served, f"/{job_id}")
    while status["done"] < done:
        if time.monotonic() > until_s:
            raise RuntimeError(f"the job makes no progress: {status}")
        time.sleep(0.05)
        last, status = status, ask(served, f"/{job_id}")
    return last if status["per_s"] is None else status


def once_each(found: list[bytes], rows: int) -> int:
    """How many of the ids that were sent have exactly one result."""
    seen = Counter(json.loads(line)["id"] for line in found)
    return sum(seen[number] == 1 for number in range(rows))


if __name__ == "__main__":
    main()
