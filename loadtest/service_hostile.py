"""Measures the effect of hostile bodies, and of 200 connections that send a byte a second, on other callers.

    python loadtest/service_hostile.py [--seconds 15] [--slow 200]

Other callers send single samples at random times; their p99 is compared with that of the same
load before the attack. Each hostile body is sent repeatedly on its own connection.
"""

import asyncio
import gzip
import itertools
from concurrent.futures import ProcessPoolExecutor
from typing import Any, NamedTuple

import uvloop
from arrivals import Answer, Client, request
from measuring import at_most, percentile, report, say, simulator, sizes
from rows import requests
from serving import Served, service

JUDGE = {"latency_median_s": 0.05, "latency_sigma": 0.0}
PER_S = 100
HEADER_TIMEOUT_S = 5.0
PAUSE_S = 0.05
LEAST_GROWTH_MB = 30.0
"""Memory that the allocator may keep, MB; a leak of the bodies would be hundreds of MB."""


def sample(value: bytes) -> bytes:
    return b'{"samples":[{"id":1,"reference":"x","response":' + value + b"}]}"


BODIES = {
    "200,000 nested lists": request(b"[" * 200_000),
    "nested in a sample": request(sample(b"[" * 200_000 + b"]" * 200_000)),
    "1e400": request(sample(b"1e400")),
    "an integer of 5,000 digits": request(sample(b"9" * 5_000)),
    "NaN": request(sample(b"NaN")),
    "no UTF-8": request(sample(b'"\xff\xfe"')),
    "gzip bomb": request(gzip.compress(b" " * 50_000_000), content_encoding="gzip"),
    "50 MB": request(sample(b'"' + b"a" * 50_000_000 + b'"')),
    "no JSON": request(b"samples=1"),
    "a lone surrogate": request(sample(b'"\\ud800"')),
}
MAY_BE_JUDGED = {"a lone surrogate"}
"""Bodies that may be refused or accepted; both are right if they are fast."""


class Felt(NamedTuple):
    """before, during: replies to other callers. hostile: replies by body. held_s: of slow connections."""

    before: list[Answer]
    during: list[Answer]
    hostile: dict[str, list[Answer]]
    held_s: list[float]
    rss_mb: tuple[float, float]


def main() -> None:
    options = sizes(__doc__, seconds=(15.0, 2.0), slow=(200, 10))
    timeouts = {"service_header_timeout_s": HEADER_TIMEOUT_S}
    with simulator(**JUDGE) as simulated, service(simulated.url, **timeouts) as served:
        felt = uvloop.run(felt_by_others(served, options.seconds, options.slow))
    report("service_hostile", *results(felt), smoke=options.smoke)


async def felt_by_others(served: Served, seconds: float, slow: int) -> Felt:
    client = Client(served.port)
    wires = requests()
    await client.at_rate(wires, PER_S, 2)
    say("other callers alone ...")
    before = await client.at_rate(wires, PER_S, seconds)
    with ProcessPoolExecutor(1) as others:  # else the attack would stall the measurement
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(others, attack, served.port, 0, 0)  # allocates buffers once
        rss_mb = served.rss_mb()
        say(f"and now with hostile bodies and {slow} slow connections ...")
        attacking = loop.run_in_executor(others, attack, served.port, seconds, slow)
        during = await client.at_rate(wires, PER_S, seconds)
        hostile, held_s = await attacking
    client.close()
    return Felt(before, during, hostile, held_s, (rss_mb, served.rss_mb()))


def attack(port: int, seconds: float, slow: int) -> tuple[dict[str, list[Answer]], list[float]]:
    """Attacks, in a separate process. Returns replies by body, and the time of each slow connection."""

    async def both() -> tuple[dict[str, list[Answer]], list[float]]:
        trickling = [asyncio.create_task(trickle(port)) for _ in range(slow)]
        answers = await send_all(port, seconds)
        return answers, list(await asyncio.gather(*trickling))

    return uvloop.run(both())


async def send_all(port: int, seconds: float) -> dict[str, list[Answer]]:
    """Sends every body at least once, and repeats until the time is over."""
    loop = asyncio.get_running_loop()
    answers: dict[str, list[Answer]] = {name: [] for name in BODIES}
    end_s = loop.time() + seconds
    for name in itertools.cycle(BODIES):
        if loop.time() >= end_s and answers[name]:
            break
        client = Client(port)
        answers[name].append(await client.ask(BODIES[name]))
        client.close()
        await asyncio.sleep(PAUSE_S)
    return answers


async def trickle(port: int) -> float:
    """Sends a byte of a header a second. Returns the seconds until the service closed the connection."""
    loop = asyncio.get_running_loop()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    began_s = loop.time()
    ended = asyncio.create_task(reader.read())
    for byte in b"POST /v1/rewards HTTP/1.1\r\nX-Slow: " + b"a" * 120:
        if ended.done():
            break
        writer.write(bytes([byte]))
        await asyncio.wait({ended}, timeout=1)
    ended.cancel()
    writer.close()
    return loop.time() - began_s


def results(felt: Felt) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    p99_ms = [
        1e3 * percentile([a.took_s for a in those], 99) for those in (felt.before, felt.during)
    ]
    worst_ms = {name: 1e3 * max(a.took_s for a in those) for name, those in felt.hostile.items()}
    wrong = [
        f"{name}: {answer.status}"
        for name, those in felt.hostile.items()
        for answer in those
        if not (400 <= answer.status < 500 or (answer.status == 200 and name in MAY_BE_JUDGED))
    ]
    judged = {name: ms for name, ms in worst_ms.items() if felt.hostile[name][0].status != 200}
    grown_mb = felt.rss_mb[1] - felt.rss_mb[0]
    failed = sum(answer.status != 200 for answer in felt.during)
    figures = [
        at_most("hostile bodies not answered with 4xx", len(wrong), 0),
        at_most("slowest answer to a hostile body", max(judged.values()), 50, "ms"),
        at_most(
            "longest that a slow connection was held", max(felt.held_s), HEADER_TIMEOUT_S + 2, "s"
        ),
        at_most("memory grown by it", max(0.0, grown_mb), LEAST_GROWTH_MB, "MB"),
        at_most("other callers' p99, over what it was before", p99_ms[1] / p99_ms[0], 2),
        at_most("other callers' requests failed", failed, 0),
    ]
    details = {
        "slow_connections": len(felt.held_s),
        "others_p99_ms": {"before": round(p99_ms[0], 1), "during": round(p99_ms[1], 1)},
        "slowest_ms": {name: round(ms, 1) for name, ms in worst_ms.items()},
        "statuses": {
            name: sorted({a.status for a in those}) for name, those in felt.hostile.items()
        },
        "hostile_bodies_sent": sum(map(len, felt.hostile.values())),
        "rss_mb": [round(rss) for rss in felt.rss_mb],
    }
    return figures, details


if __name__ == "__main__":
    main()
