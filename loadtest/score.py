"""Measures `judge score` against the simulator, as two processes, and writes the result.

    python loadtest/score.py [--rollouts 2000] [--runs 5]

Every rollout is different, so that neither the cache nor coalescing saves a call. The figure is that of the
command: rows committed to the journal, divided by the time from the first row to the last.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import ENVIRON, MODEL, at_least, at_most, report, simulator, sizes, spread

LATENCY_MEDIAN_S = 0.3
MAX_IN_FLIGHT = 1024


def main() -> None:
    options = sizes(__doc__, rollouts=(2_000, 50), runs=(5, 1))
    with (
        tempfile.TemporaryDirectory() as directory,
        simulator(latency_median_s=LATENCY_MEDIAN_S) as judge,
    ):
        rollouts = write_rollouts(Path(directory) / "rollouts.jsonl", options.rollouts)
        runs = [measure(rollouts, judge.url) for _ in range(options.runs)]
    details = details_of(runs)
    figures = [
        at_least("`judge score`", details["evaluations_per_s"]["median"], 1000.0, "/s"),
        at_most("evaluations not scored", details["unscored"], 0),
    ]
    report("score", figures, details, smoke=options.smoke)


def write_rollouts(path: Path, count: int) -> Path:
    rows = (
        {
            "id": f"rollout-{number}",
            "messages": [
                {
                    "role": "user",
                    "content": f"In which year was house {number // 4} built, and by whom?",
                },
                {
                    "role": "assistant",
                    "content": f"House {number // 4} was built in {1500 + number % 500}.",
                },
            ],
            "reference_answer": f"It was built in {1500 + number // 4 % 500} by the parish.",
        }
        for number in range(count)
    )
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def measure(rollouts: Path, url: str) -> dict[str, Any]:
    """One run in a new process: its summary, and its time from start to exit."""
    settings = {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": MODEL,
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "JUDGE_LIMITS_MAX_IN_FLIGHT": str(MAX_IN_FLIGHT),
        **ENVIRON,
    }
    command = [sys.executable, "-m", "judge_service", "score", str(rollouts), "--json", "--restart"]
    command += ["-o", str(rollouts.with_name("rewards.jsonl"))]
    started = time.monotonic()
    output = subprocess.run(
        command, env={**os.environ, **settings}, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    return {**json.loads(output), "process_s": time.monotonic() - started}


def details_of(runs: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "rollouts": runs[0]["rows"],
        "runs": len(runs),
        "latency_median_s": LATENCY_MEDIAN_S,
        "max_in_flight": MAX_IN_FLIGHT,
        "unscored": max(run["unscored"] for run in runs),
        "evaluations_per_s": spread([run["evaluations_per_s"] for run in runs]),
        "whole_process_s": spread([run["process_s"] for run in runs]),
    }


if __name__ == "__main__":
    main()
