"""Load test with simulator, service and locust on this machine, with one table of results.

    python loadtest/load.py [--seconds 60] [--smoke]      (make load)
    python loadtest/load.py --ui                          (make load-ui)

The judge is the simulator, with 50 ms a call and a quota that is also in the service's settings. All three
share this machine's cores. `--ui` starts all three and prints the address of locust's page.
"""

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from measuring import Simulated, at_least, at_most, report, say, simulator, sizes
from serving import Served, service

LOCUSTFILE = Path(__file__).with_name("locustfile.py")
PER_MINUTE = 300_000
JUDGE: dict[str, Any] = {
    "latency_median_s": 0.05,
    "latency_sigma": 0.3,
    "requests_per_minute": PER_MINUTE,
}
SIZE = re.compile(r"\((\d+)\)")
"""The number of samples of a request in its name from the locustfile."""

COLUMNS = "  {:<22}{:>9}{:>10}{:>9}{:>9}{:>9}{:>9}{:>9}"
HEADINGS = ("users", "requests", "evals/s", "p50 ms", "p90 ms", "p99 ms", "failed", "quota %")


class Run(NamedTuple):
    """One run of locust. callers: classes of the locustfile. users: number of all users at factor 1."""

    callers: tuple[str, ...]
    shape: str
    users: int
    share_s: float

    @property
    def name(self) -> str:
        return f"{' '.join(self.callers).lower()} {self.shape}"


RUNS = (
    Run(("Single",), "steady", 64, 1.0),
    Run(("Batch",), "steady", 16, 1.0),
    Run(("Single", "Batch", "Rank"), "ramp", 24, 1 / 3),
    Run(("Single", "Batch", "Rank"), "spike", 12, 1 / 3),
)
"""share_s: of `--seconds`, for each."""


def main() -> None:
    if "--ui" in sys.argv[1:]:
        return show_page()
    options = sizes(__doc__, seconds=(60.0, 5.0))
    with simulator(**JUDGE) as judge, served(judge) as running:
        print(COLUMNS.format(*HEADINGS), flush=True)
        runs = {run.name: drive(run, judge, running, options.seconds * run.share_s) for run in RUNS}
    single, batch = runs["single steady"], runs["batch steady"]
    figures = [
        at_least("evaluations/s, single samples", single["evaluations_per_s"], 400, "/s"),
        at_least("evaluations/s, batches of 64", batch["evaluations_per_s"], 1500, "/s"),
        at_most("requests failed", sum(run["failed"] for run in runs.values()), 0),
        at_most("evaluations lost", single["lost"] + batch["lost"], 0),
    ]
    details = {"seconds": options.seconds, "judge": JUDGE, "runs": runs}
    return report("load", figures, details, smoke=options.smoke)


def served(judge: Simulated) -> Any:
    return service(judge.url, limits_requests_per_minute=PER_MINUTE, limits_burst_s=1)


def drive(run: Run, judge: Simulated, running: Served, seconds: float) -> dict[str, Any]:
    """Runs locust headless, prints one line for each of its names, and returns the sums."""
    before, began_s, cpu_s = judge.statistics(), time.monotonic(), running.cpu_s()
    entries = locust(run, running.url, seconds)
    took_s, cpu_s = time.monotonic() - began_s, running.cpu_s() - cpu_s
    calls = judge.statistics()["answered"] - before["answered"]
    shown = [line_of(entry) for entry in entries]
    used = 100 * calls / (PER_MINUTE / 60 * took_s)
    for line in shown:
        show(run, line, used)
    evaluations = sum(line["evaluations"] for line in shown)
    return {
        "users": run.users,
        "evaluations_per_s": round(sum(line["evaluations_per_s"] for line in shown), 1),
        "failed": sum(line["failed"] for line in shown),
        "lost": max(0, calls - evaluations),
        "quota_used_percent": round(used, 1),
        "cpu_us_per_evaluation": round(cpu_s / max(evaluations, 1) * 1e6),
        "requests": shown,
    }


def locust(run: Run, url: str, seconds: float) -> Any:
    """The entries of locust's statistics. Exits with locust's message if it fails."""
    command = [sys.executable, "-m", "locust", "-f", LOCUSTFILE, "--host", url, "--headless"]
    command += ["--json", "--skip-log", "--users", run.users, "--shape", run.shape]
    command += ["--run-time", max(1, round(seconds)), "--stop-timeout", 60, *run.callers]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=seconds + 120
    )
    if not done.stdout.startswith("["):
        sys.exit(f"locust failed:\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def line_of(entry: Any) -> dict[str, Any]:
    """The results of one name."""
    failed, requests = entry["num_failures"], entry["num_requests"]
    took_s = entry["last_request_timestamp"] - entry["start_time"]
    evaluations = (requests - failed) * int(SIZE.search(entry["name"])[1])
    return {
        "name": entry["name"],
        "requests": requests,
        "failed": failed,
        "evaluations": evaluations,
        "evaluations_per_s": round(evaluations / took_s, 1),
        **{f"p{q}_ms": quantile(entry["response_times"], q) for q in (50, 90, 99)},
    }


def quantile(times: dict[str, int], percent: float) -> float:
    """A quantile of locust's histogram, whose keys are milliseconds with two digits."""
    ordered = sorted((float(time_ms), count) for time_ms, count in times.items())
    left = sum(count for _, count in ordered) * percent / 100
    for time_ms, count in ordered:
        left -= count
        if left <= 0:
            return time_ms
    return 0.0


def show(run: Run, line: dict[str, Any], used: float) -> None:
    name = f"{run.users} {line['name']} {run.shape}"
    cells = (line["requests"], round(line["evaluations_per_s"]))
    times = (f"{line[f'p{q}_ms']:g}" for q in (50, 90, 99))
    print(COLUMNS.format(name, *cells, *times, line["failed"], f"{used:.0f}"), flush=True)


def show_page() -> None:
    """Runs all three until interrupted; locust prints the address of its page."""
    with simulator(**JUDGE) as judge, served(judge) as running:
        say(f"the service: {running.url}   locust's page: http://127.0.0.1:8089   Ctrl-C ends all")
        command = [sys.executable, "-m", "locust", "-f", str(LOCUSTFILE), "--host", running.url]
        try:
            subprocess.run([*command, "--web-host", "127.0.0.1", "--class-picker"], check=False)
        except KeyboardInterrupt:
            say("ended")


if __name__ == "__main__":
    main()
