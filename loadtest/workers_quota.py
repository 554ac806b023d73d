"""Measures the used share of the quota of `judge serve --workers 4` without a store, with batches.

    python loadtest/workers_quota.py [--seconds 40]

Each caller of a trainer keeps one connection and sends batches of 16 to 64 samples in sequence. The
kernel distributes connections unevenly, so the workers must share one quota. There is one run with a
judge that only enforces its quota, and one with 1 % of the calls refused at random.
Figures are the simulator's counts from the sixth second on.
"""

import asyncio
import itertools
import random
import time
from typing import Any

import uvloop
from arrivals import Client, request
from measuring import MODEL, Simulated, at_least, at_most, report, say, simulator, sizes
from rows import body
from serving import service

WORKERS = 4
PER_MINUTE = 6000
CALLERS = 12
SMALLEST, LARGEST = 16, 64
WARM_UP_S = 6.0
REFUSED = (0.0, 0.01)
MEAN_S = 0.3


def main() -> None:
    options = sizes(__doc__, seconds=(40.0, 2.0))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for share in REFUSED:
        say(f"{share:.0%} of the calls refused at random")
        judge = {
            "requests_per_minute": PER_MINUTE,
            "latency_median_s": MEAN_S,
            "throttle_rate": share,
        }
        told = {"service_workers": WORKERS, "limits_requests_per_minute": PER_MINUTE}
        with simulator(**judge) as simulated, service(simulated.url, **told) as served:
            found = uvloop.run(measure(simulated, served.port, options.seconds))
        what = f"{WORKERS} workers, {share:.0%} refused at random: "
        figures += [
            at_least(f"{what}answered, of the quota", found["answered"], 0.95),
            at_most(f"{what}refused because of the quota", found["refused_by_quota"], 0.01),
        ]
        details[f"refused_{share:.0%}"] = found
    report("workers_quota", figures, details, smoke=options.smoke)


async def measure(simulated: Simulated, port: int, seconds: float) -> dict[str, Any]:
    client, numbers = Client(port), itertools.count(0, LARGEST)
    callers = [asyncio.create_task(call(client, numbers, seed)) for seed in range(CALLERS)]
    await asyncio.sleep(WARM_UP_S)
    before, began_s = await asyncio.to_thread(simulated.statistics), time.monotonic()
    await asyncio.sleep(seconds)
    after, took_s = await asyncio.to_thread(simulated.statistics), time.monotonic() - began_s
    for caller in callers:
        caller.cancel()
    await asyncio.wait(callers)
    client.close()
    return {
        "answered": (after["answered"] - before["answered"]) / (PER_MINUTE / 60 * took_s),
        "refused_by_quota": grown(before, after, "refused_requests")
        / grown(before, after, "admitted"),
        "worst_60_s_of_the_quota": after["worst_window_calls"] / PER_MINUTE,
    }


def grown(before: Any, after: Any, count: str) -> int:
    grown: int = after["quotas"][MODEL][count] - before["quotas"][MODEL][count]
    return grown


async def call(client: Client, numbers: "itertools.count[int]", seed: int) -> None:
    """One caller of the trainer: sends endless batches, each after the reply to the last one."""
    sizes_of_batches = random.Random(seed)
    while True:
        first = next(numbers)
        batch = body(range(first, first + sizes_of_batches.randint(SMALLEST, LARGEST)))
        await client.ask(request(batch))


if __name__ == "__main__":
    main()
