"""Twice what the quota allows, for a minute: what gets done, what is refused, and how fast it is told.

    python loadtest/service_overload.py [--seconds 60]

Single samples at random moments (open loop); the judge takes 100 ms and 400 calls a second.
"""

from typing import Any

import uvloop
from arrivals import Answer, Client, header
from measuring import at_least, at_most, percentile, report, simulator, sizes
from rows import is_scored, requests
from serving import Served, service

CAPACITY_PER_S = 400
DEADLINE_S = 5.0
PER_MINUTE = 60 * CAPACITY_PER_S
JUDGE = {"latency_median_s": 0.1, "latency_sigma": 0.0, "requests_per_minute": PER_MINUTE}
REFUSED = (429, 503)


def main() -> None:
    options = sizes(__doc__, seconds=(60.0, 3.0))
    limits = {"limits_requests_per_minute": PER_MINUTE, "deadline_s": DEADLINE_S}
    with simulator(**JUDGE) as simulated, service(simulated.url, **limits) as served:
        answers = uvloop.run(arrive(served, options.seconds))
    report("service_overload", *results(answers, options.seconds), smoke=options.smoke)


async def arrive(served: Served, seconds: float) -> list[Answer]:
    client = Client(served.port)
    answers = await client.at_rate(requests(), 2 * CAPACITY_PER_S, seconds)
    client.close()
    return answers


def results(answers: list[Answer], seconds: float) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    accepted = [answer for answer in answers if answer.status == 200]
    refused_ms = [1e3 * answer.took_s for answer in answers if answer.status in REFUSED]
    late = [answer for answer in accepted if answer.took_s > DEADLINE_S or not is_scored(answer)]
    begin_s = min(answer.due_s for answer in answers)
    in_time = [one for one in accepted if one.due_s + one.took_s < begin_s + seconds]
    silent = [one for one in answers if one.status in REFUSED and not header(one, b"retry-after")]
    other = [answer for answer in answers if answer.status not in (200, *REFUSED)]
    goodput = 100 * len(in_time) / (CAPACITY_PER_S * seconds)
    figures = [
        at_least("goodput at twice the capacity", goodput, 95, "%"),
        at_most("accepted requests over their deadline", len(late), 0),
        at_most("p99 of a refusal", percentile(refused_ms or [0], 99), 10, "ms"),
        at_most("refusals without Retry-After", len(silent), 0),
        at_most("any other answer", len(other), 0),
    ]
    details = {
        "seconds": seconds,
        "capacity_per_s": CAPACITY_PER_S,
        "deadline_s": DEADLINE_S,
        "requests": len(answers),
        "accepted": len(accepted),
        "refused": len(refused_ms),
        "accepted_s": {
            f"p{q}": round(percentile([a.took_s for a in accepted], q), 3) for q in (50, 99, 100)
        },
        "refused_ms": {f"p{q}": round(percentile(refused_ms or [0], q), 2) for q in (50, 99, 100)},
    }
    return figures, details


if __name__ == "__main__":
    main()
