"""Measures the CPU of the gate when no call waits, and of the whole stack with a judge that answers at once.

    python loadtest/limiter.py [--calls 20000] [--rounds 9]

The gate's figure is the process time of a call through it minus that of the same call without it.
"""

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from typing import Any

from gates import open_gate
from measuring import InstantJudge, at_most, report, sample, say, sizes, spread

from judge_service import Settings, open_service
from judge_service.flow import Handler, Request, stack
from judge_service.settings import CacheSettings, LimitSettings

PER_MINUTE = 1e12
"""A quota that is never used up."""
RESOURCES = ("requests", "tokens")
COSTS = (1, 400)

GATE_US = 10.0
"""The breaker, the limiter and the slots that the gate replaced took 9.7 us, where the gate took 8.1."""


def main() -> None:
    options = sizes(__doc__, calls=(20_000, 500), rounds=(9, 2))
    gate = asyncio.run(measure_gate(options.calls, options.rounds))
    say("gate measured")
    whole = asyncio.run(measure_stack(options.calls // 4, options.rounds))
    figures = [
        at_most(
            "gate, uncontended permit and settling of two resources",
            statistics.median(gate),
            GATE_US,
            "us",
        )
    ]
    details = {
        "calls": options.calls,
        "rounds": options.rounds,
        "gate_us": spread(gate),
        "whole_stack_us": spread(whole),
    }
    print(f"  the whole stack, similarity rubric, no network: {spread(whole)} us")
    report("limiter", figures, details, smoke=options.smoke)


async def measure_gate(calls: int, rounds: int) -> list[float]:
    """Microseconds that the gate adds to a call, one for each round."""
    gate = open_gate(dict.fromkeys(RESOURCES, PER_MINUTE), COSTS)
    with_gate: Handler[int, int] = stack(_echo, gate)
    added = []
    for _ in range(rounds):
        without_us = await _us_per_call(_echo, calls)
        added.append(await _us_per_call(with_gate, calls) - without_us)
    return added


async def _echo(request: Request[int]) -> int:
    return request.body


async def _us_per_call(handler: Callable[[Request[int]], Awaitable[int]], calls: int) -> float:
    requests = [Request(number) for number in range(calls)]
    started_s = time.process_time()
    for request in requests:
        await handler(request)
    return (time.process_time() - started_s) / calls * 1e6


async def measure_stack(calls: int, rounds: int) -> list[float]:
    """Microseconds of a whole evaluation without the network, one for each round."""
    settings = Settings(
        limits=LimitSettings(requests_per_minute=PER_MINUTE, tokens_per_minute=PER_MINUTE),
        cache=CacheSettings(max_entries=0),
    )
    found: list[float] = []
    judge_model: Any = InstantJudge()
    async with open_service(settings, environ={}, model=judge_model) as judge:
        for part in range(rounds):
            samples = [sample(part * calls + number) for number in range(calls)]
            started_s = time.process_time()
            rewards = await judge.score(samples, deadline_s=600)
            found.append((time.process_time() - started_s) / calls * 1e6)
            if any(reward.score is None for reward in rewards):
                raise RuntimeError("a sample was not judged; the figure would be wrong")
    return found


if __name__ == "__main__":
    main()
