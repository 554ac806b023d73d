"""Measures `judge score` against the simulator, as two processes, and writes the result.

    python loadtest/score.py [--rollouts 2000] [--runs 5]

Every rollout is different, so that neither the cache nor coalescing saves a call. The figure is the
command's own: rows acknowledged in the journal, over the time from its first row to its last.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parent / "results" / "score.json"
LATENCY_MEDIAN_S = 0.3
MAX_IN_FLIGHT = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rollouts", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, simulator() as url:
        rollouts = write_rollouts(Path(directory) / "rollouts.jsonl", options.rollouts)
        runs = [measure(rollouts, url) for _ in range(options.runs)]
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"figures": figures(runs), "environment": environment()}, indent=2) + "\n")
    print(RESULT.read_text())


@contextmanager
def simulator() -> Iterator[str]:
    """The simulator in a process of its own; gives its URL."""
    command = [sys.executable, "-m", "judge_service", "simulate", "--port", "0"]
    command += ["--latency-median-s", str(LATENCY_MEDIAN_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            for line in process.stdout:
                if found := re.search(r"http://[\d.:]+", line):
                    yield found[0]
                    return
            raise RuntimeError("the simulator did not start")
        finally:
            process.terminate()


def write_rollouts(path: Path, count: int) -> Path:
    rows = (
        {
            "id": f"rollout-{number}",
            "messages": [
                {"role": "user", "content": f"In which year was house {number // 4} built, and by whom?"},
                {"role": "assistant", "content": f"House {number // 4} was built in {1500 + number % 500}."},
            ],
            "reference_answer": f"It was built in {1500 + number // 4 % 500} by the parish.",
        }
        for number in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measure(rollouts: Path, url: str) -> dict[str, Any]:
    """One run in a fresh process: its summary, and its time from start to exit."""
    settings = {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "us.amazon.nova-lite-v1:0",
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "JUDGE_LIMITS_MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "simulated",
        "AWS_SECRET_ACCESS_KEY": "simulated",
    }
    command = [sys.executable, "-m", "judge_service", "score", str(rollouts), "--json", "--restart"]
    command += ["-o", str(rollouts.with_name("rewards.jsonl"))]
    started = time.monotonic()
    output = subprocess.run(
        command, env={**os.environ, **settings}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return {**json.loads(output), "process_s": time.monotonic() - started}


def figures(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rollouts": runs[0]["rows"],
        "runs": len(runs),
        "latency_median_s": LATENCY_MEDIAN_S,
        "max_in_flight": MAX_IN_FLIGHT,
        "unscored": max(run["unscored"] for run in runs),
        "evaluations_per_s": spread([run["evaluations_per_s"] for run in runs]),
        "whole_process_s": spread([run["process_s"] for run in runs]),
    }


def spread(values: list[float]) -> dict[str, float]:
    return {
        "min": round(min(values), 3),
        "median": round(statistics.median(values), 3),
        "max": round(max(values), 3),
    }


def environment() -> dict[str, Any]:
    return {
        "date": time.strftime("%Y-%m-%d"),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "judge-service": version("judge-service"),
        "pyreqwest": version("pyreqwest"),
    }


if __name__ == "__main__":
    main()
