"""Batches of 64 over HTTP: evaluations per CPU second of the service's process.

python loadtest/service_batch.py [--seconds 15]
"""

import uvloop
from arrivals import Client
from measuring import at_least, at_most, report, simulator, sizes
from rows import BATCH, requests
from serving import Served, service

JUDGE = {"latency_median_s": 0.05, "latency_sigma": 0.0}
IN_FLIGHT = 8
WARM_UP_S = 2.0


def main() -> None:
    options = sizes(__doc__, seconds=(15.0, 1.0))
    with simulator(**JUDGE) as simulated, service(simulated.url) as served:
        cpu_s, done, failed = uvloop.run(saturate(served, options.seconds))
    figures = [
        at_least("evaluations/s per core, batches of 64", BATCH * done / cpu_s, 3000, "/s"),
        at_most("requests failed", failed, 0),
    ]
    details = {
        "seconds": options.seconds,
        "batches_in_flight": IN_FLIGHT,
        "evaluations_per_s_on_the_wall": round(BATCH * done / options.seconds),
        "cpu_us_per_evaluation": round(1e6 * cpu_s / (BATCH * done)),
    }
    report("service_batch", figures, details, smoke=options.smoke)


async def saturate(served: Served, seconds: float) -> tuple[float, int, int]:
    """CPU seconds of the service, batches answered, batches not answered."""
    client, wires = Client(served.port), requests(BATCH)
    await client.at_once(wires, IN_FLIGHT, WARM_UP_S)
    cpu_s = served.cpu_s()
    answers = await client.at_once(wires, IN_FLIGHT, seconds)
    cpu_s = served.cpu_s() - cpu_s
    client.close()
    done = sum(answer.status == 200 for answer in answers)
    return cpu_s, done, len(answers) - done


if __name__ == "__main__":
    main()
