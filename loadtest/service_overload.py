"""Measures the service under twice the load that the quota allows: goodput, refusals and their latency.

    python loadtest/service_overload.py [--seconds 60]

Single samples arrive at random times (open loop); the judge takes 100 ms and accepts 400 calls a second.

The latency of refusals is measured in pieces of 3 s: the figure is the median p99 of the third of
them in which the host took the least CPU. All other figures are of the whole time.
"""

import asyncio
import statistics
from typing import Any

import uvloop
from arrivals import Answer, Client, header
from measuring import (
    Stolen,
    at_least,
    at_most,
    calmest,
    percentile,
    report,
    simulator,
    sizes,
    spread,
)
from msgspec import Struct
from rows import is_scored, requests
from serving import Served, service

CAPACITY_PER_S = 400
DEADLINE_S = 5.0
PER_MINUTE = 60 * CAPACITY_PER_S
JUDGE = {"latency_median_s": 0.1, "latency_sigma": 0.0, "requests_per_minute": PER_MINUTE}
REFUSED = (429, 503)
PIECE_S = 3.0


class Piece(Struct, frozen=True):
    """A piece of the test. from_s: its beginning, loop seconds."""

    from_s: float
    stolen_percent: float


def main() -> None:
    options = sizes(__doc__, seconds=(60.0, 3.0))
    limits = {"limits_requests_per_minute": PER_MINUTE, "deadline_s": DEADLINE_S}
    with simulator(**JUDGE) as simulated, service(simulated.url, **limits) as served:
        answers, pieces = uvloop.run(arrive(served, options.seconds))
    report("service_overload", *results(answers, pieces, options.seconds), smoke=options.smoke)


async def arrive(served: Served, seconds: float) -> tuple[list[Answer], list[Piece]]:
    client = Client(served.port)
    pieces: list[Piece] = []
    looking = asyncio.create_task(_look(pieces))
    answers = await client.at_rate(requests(), 2 * CAPACITY_PER_S, seconds)
    looking.cancel()
    client.close()
    return answers, pieces


async def _look(pieces: list[Piece]) -> None:
    while True:
        from_s, stolen = asyncio.get_running_loop().time(), Stolen()
        await asyncio.sleep(PIECE_S)
        pieces.append(Piece(from_s, stolen.percent()))


def p99s_ms(refused: list[Answer], pieces: list[Piece]) -> list[float]:
    """The p99 of the refusals of each piece; pieces without refusals have none."""
    took_ms = [
        [1e3 * one.took_s for one in refused if piece.from_s <= one.due_s < piece.from_s + PIECE_S]
        for piece in pieces
    ]
    return [percentile(each, 99) for each in took_ms if each]


def results(
    answers: list[Answer], pieces: list[Piece], seconds: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    accepted = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status in REFUSED]
    refused_ms = [1e3 * answer.took_s for answer in refused]
    counted = calmest(pieces, lambda one: one.stolen_percent)
    calm_ms = p99s_ms(refused, counted) or [percentile(refused_ms or [0], 99)]
    late = [answer for answer in accepted if answer.took_s > DEADLINE_S or not is_scored(answer)]
    begin_s = min(answer.due_s for answer in answers)
    in_time = [one for one in accepted if one.due_s + one.took_s < begin_s + seconds]
    silent = [one for one in refused if not header(one, b"retry-after")]
    other = [answer for answer in answers if answer.status not in (200, *REFUSED)]
    goodput = 100 * len(in_time) / (CAPACITY_PER_S * seconds)
    figures = [
        at_least("goodput at twice the capacity", goodput, 95, "%"),
        at_most("accepted requests over their deadline", len(late), 0),
        at_most("p99 of a refusal", statistics.median(calm_ms), 10, "ms"),
        at_most("refusals without Retry-After", len(silent), 0),
        at_most("any other answer", len(other), 0),
    ]
    details = {
        "seconds": seconds,
        "capacity_per_s": CAPACITY_PER_S,
        "deadline_s": DEADLINE_S,
        "requests": len(answers),
        "accepted": len(accepted),
        "refused": len(refused),
        "accepted_s": {
            f"p{q}": round(percentile([a.took_s for a in accepted], q), 3) for q in (50, 99, 100)
        },
        "refused_ms": {f"p{q}": round(percentile(refused_ms or [0], q), 2) for q in (50, 99, 100)},
        "refused_p99_ms_of_counted": spread(calm_ms),
        "p99_ms_and_stolen_percent": [
            [
                *(round(p99_ms, 1) for p99_ms in p99s_ms(refused, [one])),
                round(one.stolen_percent, 1),
            ]
            for one in pieces
        ],
    }
    return figures, details


if __name__ == "__main__":
    main()
