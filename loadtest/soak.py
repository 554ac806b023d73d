"""Measures leaks of memory, tasks and descriptors over a million evaluations with the simulator.

    python loadtest/soak.py [--evaluations 1000000]

Service and simulator are two processes. There is a measurement each half percent; the first tenth, in which
the cache and the allocator fill up, does not count. It takes under ten minutes on two cores.
"""

import asyncio
import gc
import statistics
import time
from collections.abc import Iterator
from typing import Any

from measuring import (
    ENVIRON,
    at_most,
    descriptors,
    report,
    rss_kb,
    sample,
    say,
    settings_for,
    simulator,
    sizes,
    spread,
)
from msgspec import Struct

from judge_service import Sample, open_service

LATENCY_MEDIAN_S = 0.2
WARM_UP = 0.1


class Look(Struct, frozen=True):
    """A measurement of this process after a number of evaluations."""

    evaluations: int
    rss_kb: int
    tasks: int
    descriptors: int


def main() -> None:
    options = sizes(__doc__, evaluations=(1_000_000, 5_000))
    started_s = time.perf_counter()
    with simulator(latency_median_s=LATENCY_MEDIAN_S, max_events=100) as judge:
        looks, after, unscored = asyncio.run(run(judge.url, options.evaluations))
    counted = [look for look in looks if look.evaluations >= WARM_UP * options.evaluations]
    slope = 1000 * slope_of([(look.evaluations, look.rss_kb) for look in counted])
    before = looks[0]
    figures = [
        at_most("slope of memory", slope, 1.0, "KB per 1,000"),
        at_most("tasks: last tenth over the first counted", drift(counted, "tasks"), 1.05, "times"),
        at_most("tasks left at the end", after.tasks - before.tasks, 0),
        at_most(
            "descriptors: last tenth over the first counted",
            drift(counted, "descriptors"),
            1.05,
            "times",
        ),
        at_most("descriptors left at the end", after.descriptors - before.descriptors, 0),
        at_most("evaluations not scored", unscored, 0),
    ]
    details: dict[str, Any] = {
        "evaluations": options.evaluations,
        "minutes": round((time.perf_counter() - started_s) / 60, 2),
        "rss_mb_before": round(before.rss_kb / 1024, 1),
        "rss_mb": spread([look.rss_kb / 1024 for look in counted]),
        "tasks": spread([look.tasks for look in counted]),
        "descriptors": spread([look.descriptors for look in counted]),
        "rss_mb_over_time": [round(look.rss_kb / 1024, 1) for look in looks[:: len(looks) // 20]],
    }
    print(f"  memory: {details['rss_mb_before']} MB before, then {details['rss_mb']}")
    report("soak", figures, details, smoke=options.smoke)


async def run(url: str, evaluations: int) -> tuple[list[Look], Look, int]:
    """The measurements from the start on, the one after closing, and the number of unscored samples."""
    async with open_service(settings_for(url), environ=ENVIRON) as judge:
        await judge.score([sample(-1)])  # the threads and descriptors of the HTTP client remain
    looks = [look(0)]
    unscored = done = 0
    every = max(1, evaluations // 200)
    started_s = said_s = time.perf_counter()
    async with open_service(settings_for(url), environ=ENVIRON) as judge:
        async for _, reward in judge.stream(jobs(evaluations)):
            done += 1
            unscored += reward.score is None
            if done % every:
                continue
            looks.append(look(done))
            if (now_s := time.perf_counter()) - said_s > 30:
                said_s = now_s
                say(f"{done:,} done, {done / (now_s - started_s):,.0f}/s, {looks[-1]}")
    await asyncio.sleep(0.5)
    gc.collect()
    return looks, look(done), unscored


def jobs(evaluations: int) -> Iterator[tuple[int, Sample]]:
    return ((number, sample(number)) for number in range(evaluations))


def look(evaluations: int) -> Look:
    return Look(evaluations, rss_kb(), len(asyncio.all_tasks()), descriptors())


def slope_of(points: list[tuple[int, int]]) -> float:
    """Least squares."""
    slope: float = statistics.linear_regression(*zip(*points, strict=True)).slope
    return slope


def drift(looks: list[Look], field: str) -> float:
    """The mean of the last tenth divided by that of the first."""
    values = [getattr(look, field) for look in looks]
    tenth = max(1, len(values) // 10)
    return statistics.fmean(values[-tenth:]) / statistics.fmean(values[:tenth])


if __name__ == "__main__":
    main()
