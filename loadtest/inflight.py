"""Measures a thousand calls in flight, for a judge that takes 2 s, with one core for the client.

    python loadtest/inflight.py [--seconds 20] [--in-flight 1000]

The client's process is pinned to the first core, the simulator's to the last. The maximum rate is
`in_flight / 2 s`. The first arrivals are spread over 2 s, so that the calls do not stay
synchronized; the first 4 s do not count.
"""

import asyncio
import itertools
import os
import resource
from collections.abc import AsyncIterator

from measuring import (
    ENVIRON,
    Simulated,
    at_least,
    at_most,
    cpu_s,
    percentile,
    report,
    sample,
    say,
    settings_for,
    simulator,
    sizes,
)

from judge_service import Sample, open_service
from judge_service.telemetry.events import Event, SampleGraded

LATENCY_S = 2.0
WARM_UP_S = 2 * LATENCY_S


def main() -> None:
    options = sizes(__doc__, seconds=(20.0, 4.0), in_flight=(1000, 50))
    allow_descriptors()
    cores = sorted(os.sched_getaffinity(0))
    with simulator(latency_median_s=LATENCY_S, latency_sigma=0.0) as judge:
        os.sched_setaffinity(judge.pid, {cores[-1]})
        os.sched_setaffinity(0, {cores[0]})
        took_s, unscored, cpu_s = asyncio.run(keep_busy(judge, options.seconds, options.in_flight))
        seen = judge.statistics()
    ceiling_per_s = options.in_flight / LATENCY_S
    rate_per_s = len(took_s) / options.seconds
    figures = [
        at_least("evaluations", rate_per_s, 0.96 * ceiling_per_s, "/s"),
        at_most("p99 of an evaluation", percentile(took_s, 99), 2.2, "s"),
        at_most("evaluations not scored", unscored, 0),
    ]
    details = {
        "seconds": options.seconds,
        "in_flight": options.in_flight,
        "peak_in_flight_at_the_judge": seen["peak_in_flight"],
        "ceiling_per_s": ceiling_per_s,
        "duration_s": {f"p{percent}": percentile(took_s, percent) for percent in (50, 90, 99, 100)},
        "client_cores_used": round(cpu_s / options.seconds, 3),
        "cores_apart": cores[0] != cores[-1],
    }
    print(f"  the client used {details['client_cores_used']} of its core")
    report("inflight", figures, details, smoke=options.smoke)


def allow_descriptors() -> None:
    """Raises the limit of descriptors, here and (inherited) in the simulator: each connection needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def keep_busy(
    simulated: Simulated, seconds: float, in_flight: int
) -> tuple[list[float], int, float]:
    """Durations of the evaluations in the counted time, the number of failed ones, CPU seconds."""
    settings = settings_for(
        simulated.url, limits={"max_in_flight": in_flight}, cache={"max_entries": 0}
    )
    loop = asyncio.get_running_loop()
    begin_s = loop.time() + WARM_UP_S
    took_s: list[float] = []
    unscored = 0

    def sink(event: Event) -> None:
        nonlocal unscored
        if isinstance(event, SampleGraded) and begin_s <= loop.time() < begin_s + seconds:
            took_s.append(event.duration_s)
            unscored += event.reward.score is None

    async with open_service(settings, environ=ENVIRON, sink=sink) as judge:
        clock = asyncio.create_task(cpu_between(begin_s, begin_s + seconds))
        jobs = arrivals(in_flight, begin_s + seconds)
        async for _ in judge.stream(jobs, window=in_flight):
            pass
        return took_s, unscored, await clock


async def arrivals(in_flight: int, until_s: float) -> AsyncIterator[tuple[int, Sample]]:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    for number in itertools.count():
        due_s = started_s + LATENCY_S * number / in_flight
        if number < in_flight and due_s > loop.time():
            await asyncio.sleep(due_s - loop.time())
        if loop.time() >= until_s:
            return
        yield number, sample(number)


async def cpu_between(begin_s: float, end_s: float) -> float:
    """CPU seconds of this process between two moments of the loop's clock."""
    loop = asyncio.get_running_loop()
    spent = []
    for at_s in (begin_s, end_s):
        await asyncio.sleep(at_s - loop.time())
        spent.append(cpu_s())
    say("counted; waiting for the last answers")
    return spent[1] - spent[0]


if __name__ == "__main__":
    main()
