"""Measures requests with one sample: the service's throughput per core, and the latency that it adds.

    python loadtest/service_single.py [--seconds 15] [--rounds 21]

First the service is saturated, for the evaluations per CPU second of its process. Then half of
the target of 1,500/s arrives at random times (open loop), for the latency added to the judge's 50 ms.

This is done in rounds of 3 s. On a shared machine the host takes CPU time (`stolen`
in /proc/stat); with a tenth of it taken, the p99 is four times as long, independent of the service. So
the figure is the median p99 of the third of the rounds in which the least was taken. The same requests are
also sent directly to the judge, which shows the latency of client, simulator and machine.
"""

import json
import statistics
from collections.abc import Iterator
from itertools import repeat

import uvloop
from arrivals import Client, request
from measuring import (
    MODEL,
    Simulated,
    Stolen,
    at_least,
    at_most,
    calmest,
    percentile,
    report,
    say,
    simulator,
    sizes,
    spread,
)
from msgspec import Struct
from rows import requests
from serving import Served, service

JUDGE_S = 0.05
IN_FLIGHT = 128
WARM_UP_S = 2.0
ROUND_S = 3.0
ASKED_PER_S = 1500


class Round(Struct, frozen=True):
    """added_ms: for each request, its latency without the judge's 50 ms. failed: requests without a 200.

    stolen_percent: CPU time that the host took.
    """

    added_ms: list[float]
    failed: int
    stolen_percent: float

    def p99_ms(self) -> float:
        return percentile(self.added_ms, 99)


def main() -> None:
    options = sizes(__doc__, seconds=(15.0, 1.0), rounds=(21, 1))
    judge = {"latency_median_s": JUDGE_S, "latency_sigma": 0.0}
    with simulator(**judge) as simulated, service(simulated.url) as served:
        per_core, per_s = uvloop.run(saturate(served, options.seconds))
        say(
            f"{per_core:.0f} evaluations/s of a core, {per_s:.0f}/s in all; now {ASKED_PER_S // 2}/s"
        )
        ours, direct = uvloop.run(alternate(served, simulated, options.rounds))
    counted = calmest(ours, lambda one: one.stolen_percent)
    p99s_ms = [one.p99_ms() for one in counted]
    figures = [
        at_least("evaluations/s per core, one sample a request", per_core, ASKED_PER_S, "/s"),
        at_most(
            "p99 over the judge's own latency, at half of the asked",
            statistics.median(p99s_ms),
            15,
            "ms",
        ),
        at_most("requests failed", sum(one.failed for one in ours), 0),
    ]
    details = {
        "seconds": options.seconds,
        "judge_ms": 1e3 * JUDGE_S,
        "in_flight": IN_FLIGHT,
        "evaluations_per_s_on_the_wall": round(per_s),
        "arrivals_per_s": ASKED_PER_S // 2,
        "rounds": len(ours),
        "rounds_counted": len(counted),
        "added_ms": shown(counted),
        "p99_and_stolen_percent": [
            [round(one.p99_ms(), 1), round(one.stolen_percent, 1)] for one in ours
        ],
        "added_without_the_service_ms": shown(direct),
    }
    report("service_single", figures, details, smoke=options.smoke)


def shown(rounds: list[Round]) -> dict[str, float | dict[str, float]]:
    """Percentiles of all rounds together, and the spread of their p99s."""
    added_ms = [each for one in rounds for each in one.added_ms]
    of_all = {f"p{q}": round(percentile(added_ms, q), 2) for q in (50, 90, 99, 99.9)}
    return {**of_all, "p99_of_rounds": spread([one.p99_ms() for one in rounds])}


async def saturate(served: Served, seconds: float) -> tuple[float, float]:
    """Evaluations per CPU second of the service, and per second."""
    client, wires = Client(served.port), requests()
    await client.at_once(wires, IN_FLIGHT, WARM_UP_S)
    cpu_s = served.cpu_s()
    answers = await client.at_once(wires, IN_FLIGHT, seconds)
    cpu_s = served.cpu_s() - cpu_s
    client.close()
    done = sum(answer.status == 200 for answer in answers)
    return done / cpu_s, done / seconds


async def alternate(
    served: Served, simulated: Simulated, rounds: int
) -> tuple[list[Round], list[Round]]:
    """Rounds through the service, with a third as many directly to the judge between them."""
    through, straight = Client(served.port), Client(int(simulated.url.rpartition(":")[2]))
    wires = requests(start=10_000_000)
    await through.at_rate(wires, ASKED_PER_S / 2, WARM_UP_S)
    ours: list[Round] = []
    direct: list[Round] = []
    for number in range(rounds):
        ours.append(await arrive(through, wires, number))
        if number % 3 == 0:
            direct.append(await arrive(straight, repeat(judge_call()), number))
    through.close()
    straight.close()
    return ours, direct


async def arrive(client: Client, wires: Iterator[bytes], seed: int) -> Round:
    stolen = Stolen()
    answers = await client.at_rate(wires, ASKED_PER_S / 2, ROUND_S, seed)
    return Round(
        [1e3 * (answer.took_s - JUDGE_S) for answer in answers],
        sum(answer.status != 200 for answer in answers),
        stolen.percent(),
    )


def judge_call() -> bytes:
    """A judge call like those of the service, of about the same length."""
    content = [{"text": "How good is this answer, from 0 to 1? " * 20}]
    body = {
        "messages": [{"role": "user", "content": content}],
        "inferenceConfig": {"maxTokens": 16},
    }
    credential = "AWS4-HMAC-SHA256 Credential=simulated/20260101/us-east-1/bedrock/aws4_request"
    return request(
        json.dumps(body).encode(),
        f"/model/{MODEL.replace(':', '%3A')}/converse",
        authorization=f"{credential}, SignedHeaders=host, Signature=0",
    )


if __name__ == "__main__":
    main()
