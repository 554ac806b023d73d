"""One sample a request over HTTP: what a core of the service does, and what it adds to the judge's time.

    python loadtest/service_single.py [--seconds 15]

First always more than it can do, for evaluations per CPU second of the service's process; then half of
that rate, at random moments (open loop), for what is added to the judge's own 50 ms.
"""

import uvloop
from arrivals import Answer, Client
from measuring import at_least, at_most, percentile, report, say, simulator, sizes
from rows import requests
from serving import Served, service

JUDGE_S = 0.05
IN_FLIGHT = 128
WARM_UP_S = 2.0


def main() -> None:
    options = sizes(__doc__, seconds=(15.0, 1.0))
    judge = {"latency_median_s": JUDGE_S, "latency_sigma": 0.0}
    with simulator(**judge) as simulated, service(simulated.url) as served:
        per_core, per_s = uvloop.run(saturate(served, options.seconds))
        say(f"{per_core:.0f} evaluations/s of a core, {per_s:.0f}/s in all; now half of a core's")
        answers = uvloop.run(arrive(served, per_core / 2, options.seconds))
    added_ms = [1e3 * (answer.took_s - JUDGE_S) for answer in answers]
    failed = sum(answer.status != 200 for answer in answers)
    figures = [
        at_least("evaluations/s per core, one sample a request", per_core, 1500, "/s"),
        at_most(
            "p99 over the judge's own latency, at half of it", percentile(added_ms, 99), 15, "ms"
        ),
        at_most("requests failed", failed, 0),
    ]
    details = {
        "seconds": options.seconds,
        "judge_ms": 1e3 * JUDGE_S,
        "in_flight": IN_FLIGHT,
        "evaluations_per_s_on_the_wall": round(per_s),
        "arrivals_per_s": round(per_core / 2),
        "added_ms": {f"p{q}": round(percentile(added_ms, q), 2) for q in (50, 90, 99, 99.9)},
    }
    report("service_single", figures, details, smoke=options.smoke)


async def saturate(served: Served, seconds: float) -> tuple[float, float]:
    """Evaluations a second: of the service's CPU, and of the wall clock."""
    client, wires = Client(served.port), requests()
    await client.at_once(wires, IN_FLIGHT, WARM_UP_S)
    cpu_s = served.cpu_s()
    answers = await client.at_once(wires, IN_FLIGHT, seconds)
    cpu_s = served.cpu_s() - cpu_s
    client.close()
    done = sum(answer.status == 200 for answer in answers)
    return done / cpu_s, done / seconds


async def arrive(served: Served, per_s: float, seconds: float) -> list[Answer]:
    client = Client(served.port)
    wires = requests(start=10_000_000)
    await client.at_rate(wires, per_s, WARM_UP_S)
    answers = await client.at_rate(wires, per_s, seconds)
    client.close()
    return answers


if __name__ == "__main__":
    main()
