"""Measures batches of 64 over HTTP: evaluations per CPU second of the service's process.

    python loadtest/service_batch.py [--rounds 15]

There are rounds of 2 s. The result is the median of the third of them in which the host took the least CPU,
because a neighbour on the same core makes a CPU second less effective.
"""

import statistics

import uvloop
from arrivals import Client
from measuring import Stolen, at_least, at_most, calmest, report, simulator, sizes, spread
from msgspec import Struct
from rows import BATCH, requests
from serving import Served, service

JUDGE = {"latency_median_s": 0.05, "latency_sigma": 0.0}
IN_FLIGHT = 8
WARM_UP_S = 2.0
ROUND_S = 2.0


class Round(Struct, frozen=True):
    """per_core_s: evaluations a CPU second. per_s: evaluations a second. failed: failed requests."""

    per_core_s: float
    per_s: float
    failed: int
    stolen_percent: float


def main() -> None:
    options = sizes(__doc__, rounds=(15, 1))
    with simulator(**JUDGE) as simulated, service(simulated.url) as served:
        rounds = uvloop.run(saturate(served, options.rounds))
    counted = calmest(rounds, lambda one: one.stolen_percent)
    per_core_s = statistics.median(one.per_core_s for one in counted)
    figures = [
        at_least("evaluations/s per core, batches of 64", per_core_s, 3000, "/s"),
        at_most("requests failed", sum(one.failed for one in rounds), 0),
    ]
    details = {
        "round_s": ROUND_S,
        "rounds": len(rounds),
        "rounds_counted": len(counted),
        "batches_in_flight": IN_FLIGHT,
        "evaluations_per_s_on_the_wall": round(statistics.median(one.per_s for one in counted)),
        "per_core_of_counted": spread([one.per_core_s for one in counted]),
        "per_core_and_stolen_percent": [
            [round(one.per_core_s), round(one.stolen_percent, 1)] for one in rounds
        ],
    }
    report("service_batch", figures, details, smoke=options.smoke)


async def saturate(served: Served, rounds: int) -> list[Round]:
    client, wires = Client(served.port), requests(BATCH)
    await client.at_once(wires, IN_FLIGHT, WARM_UP_S)
    found = []
    for _ in range(rounds):
        stolen, cpu_s = Stolen(), served.cpu_s()
        answers = await client.at_once(wires, IN_FLIGHT, ROUND_S)
        cpu_s = served.cpu_s() - cpu_s
        done = sum(answer.status == 200 for answer in answers)
        found.append(
            Round(
                BATCH * done / cpu_s,
                BATCH * done / ROUND_S,
                len(answers) - done,
                stolen.percent(),
            )
        )
    client.close()
    return found


if __name__ == "__main__":
    main()
