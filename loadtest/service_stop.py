"""Measures SIGTERM with 500 requests in flight: every one is answered, and the process ends in time.

python loadtest/service_stop.py [--requests 500]
"""

import asyncio
import itertools
from collections import Counter

import uvloop
from arrivals import Answer, Client
from measuring import at_most, report, simulator, sizes
from rows import is_scored, requests
from serving import Served, service

JUDGE = {"latency_median_s": 3.0, "latency_sigma": 0.3}
UNDER_WAY_S = 1.0
"""Time after which all requests are read and none is answered, seconds."""


def main() -> None:
    options = sizes(__doc__, requests=(500, 20))
    with simulator(**JUDGE) as simulated, service(simulated.url) as served:
        answers, code, took_s = uvloop.run(stop_under_load(served, options.requests))
        calls = simulated.statistics()["calls"]
    judged = sum(answer.status == 200 and is_scored(answer) for answer in answers)
    figures = [
        at_most("requests lost", options.requests - judged, 0),
        at_most("SIGTERM to exit", took_s, 25, "s"),
        at_most("exit code", abs(code), 0),
    ]
    statuses = Counter(str(answer.status) for answer in answers)
    details = {"requests": options.requests, "statuses": dict(statuses), "judge_calls": calls}
    report("service_stop", figures, details, smoke=options.smoke)


async def stop_under_load(served: Served, amount: int) -> tuple[list[Answer], int, float]:
    """Sends requests, then SIGTERM. Returns replies, exit code, and seconds from the signal to the exit."""
    client = Client(served.port)
    asked = [asyncio.create_task(client.ask(wire)) for wire in itertools.islice(requests(), amount)]
    await asyncio.sleep(UNDER_WAY_S)
    code, took_s = await asyncio.to_thread(served.stop)
    return list(await asyncio.gather(*asked)), code, took_s


if __name__ == "__main__":
    main()
