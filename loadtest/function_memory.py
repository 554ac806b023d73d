"""Measures whether the memory of a Lambda environment grows over ten thousand invocations.

    python loadtest/function_memory.py [--invocations 10000]

Every invocation is a batch of new rollouts for a real runtime client, judged by the simulator. Stored data is
limited: judgements by number, group means by age. Both limits are so low here that
they are reached in the first fifth, which is not counted; a leak would grow further.
"""

import os
import statistics
import time
from pathlib import Path
from typing import Any

from environments import Invocations, configured, fleet, invoke, rows
from measuring import at_most, report, say, simulator, sizes, spread

BATCH = 8
WARM_UP = 0.2
BOUNDS = {"JUDGE_CACHE_MAX_ENTRIES": 1_000, "JUDGE_UNSCORED_MEMORY_S": 10}


def main() -> None:
    options = sizes(__doc__, invocations=(10_000, 100))
    seen = Invocations()
    with (
        simulator(latency_median_s=0.005, max_events=100) as judge,
        fleet(1, configured(judge.url, **BOUNDS)) as [api],
    ):
        looks = run(api, options.invocations, seen)
    counted = looks[int(len(looks) * WARM_UP) :]
    slope = 1000 * float(statistics.linear_regression(*zip(*counted, strict=True)).slope)
    megabytes = [kb / 1024 for _, kb in counted]
    tenth = max(1, len(megabytes) // 10)
    growth = statistics.fmean(megabytes[-tenth:]) / statistics.fmean(megabytes[:tenth])
    figures = [
        at_most("memory: last tenth over the first counted", growth, 1.02, "times"),
        at_most("slope of memory", slope, 50.0, "KB per 1,000 invocations"),
        at_most("invocations that failed", seen.failed, 0),
        at_most("samples not judged", seen.unscored, 0),
    ]
    details: dict[str, Any] = {
        "invocations": options.invocations,
        "samples_each": BATCH,
        "rss_mb": spread(megabytes),
        "rss_mb_over_time": [round(kb / 1024, 1) for _, kb in looks[:: max(1, len(looks) // 20)]],
    }
    report("function_memory", figures, details, smoke=options.smoke)


def run(api: Any, invocations: int, seen: Invocations) -> list[tuple[int, int]]:
    """Makes the invocations. Returns pairs of the number of invocations and the memory in KB."""
    looks, said_s = [], time.monotonic()
    for number in range(invocations):
        invoke(api, rows(number * BATCH, BATCH), seen)
        if number % max(1, invocations // 200) == 0:
            looks.append((number, rss_kb(api.pid)))
        if time.monotonic() - said_s > 30:
            said_s = time.monotonic()
            say(f"{number:,} invocations, {looks[-1][1] / 1024:.1f} MB")
    return looks


def rss_kb(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") // 1024


if __name__ == "__main__":
    main()
