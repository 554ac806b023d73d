"""Measures many Lambda environments with one quota in Redis: the used share of it, and errors of the trainer.

    python loadtest/function_fleet.py [--warm-up-s 20] [--steady-s 60]

A SageMaker training job has 12 concurrent invocations of 64 samples; HyperPod has 100 of one
sample. Each environment is a process with the real runtime client. The simulator refuses calls over
the quota, and reports the used share of it.

Needs redis-server (or valkey-server) on PATH and Linux.
"""

import time
from typing import Any

from environments import BATCH, Invocations, configured, fleet, invoke, keep_busy, rows
from measuring import (
    MODEL,
    Simulated,
    at_least,
    at_most,
    percentile,
    report,
    say,
    simulator,
    sizes,
)
from msgspec import Struct
from redis_server import Redis

LATENCY_MEDIAN_S = 0.3


class Pattern(Struct, frozen=True):
    """How a platform calls. environments: concurrent invocations."""

    name: str
    environments: int
    batch: int
    requests_per_minute: int


TRAINING_JOB = Pattern("SageMaker training job", 12, BATCH, 24_000)
HYPERPOD = Pattern("HyperPod", 100, 1, 4_800)


def main() -> None:
    options = sizes(__doc__, warm_up_s=(20.0, 2.0), steady_s=(60.0, 3.0), environments=(100, 4))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {"latency_median_s": LATENCY_MEDIAN_S}
    for pattern in (TRAINING_JOB, HYPERPOD):
        say(f"{pattern.name}: {pattern.environments} environments")
        found, shown = measure(pattern, options)
        figures += found
        details[pattern.name] = shown
    report("function_fleet", figures, details, smoke=options.smoke)


def measure(pattern: Pattern, options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    number = min(pattern.environments, options.environments)
    quota = {"requests_per_minute": pattern.requests_per_minute}
    with Redis() as redis, simulator(**quota, latency_median_s=LATENCY_MEDIAN_S) as simulated:
        environment = configured(
            simulated.url,
            JUDGE_LIMITS_STORE="redis",
            JUDGE_LIMITS_STORE_URL=redis.url,
            JUDGE_LIMITS_REQUESTS_PER_MINUTE=pattern.requests_per_minute,
            JUDGE_CACHE_MAX_ENTRIES=0,
        )
        with fleet(number, environment) as apis:
            for place, api in enumerate(apis):  # cold starts, one after the other
                invoke(api, rows(-1 - place, 1), Invocations())
            begin_s = time.monotonic() + options.warm_up_s
            end = keep_busy(apis, pattern.batch, begin_s + options.steady_s)
            before, after = (
                quota_at(simulated, when_s) for when_s in (begin_s, begin_s + options.steady_s)
            )
            seen = end()
    return summary(pattern, options.steady_s, before, after, seen)


def quota_at(simulated: Simulated, when_s: float) -> Any:
    time.sleep(max(0.0, when_s - time.monotonic()))
    return simulated.statistics()["quotas"][MODEL]


def summary(
    pattern: Pattern, steady_s: float, before: Any, after: Any, seen: Invocations
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    admitted = after["admitted"] - before["admitted"]
    refused = after["refused_requests"] - before["refused_requests"]
    used = admitted / (pattern.requests_per_minute * steady_s / 60)
    figures = [
        at_least(f"{pattern.name}: quota used", used, 0.97),
        at_most(f"{pattern.name}: invocations that failed", seen.failed, 0),
        at_most(f"{pattern.name}: samples not judged", seen.unscored, 0),
    ]
    return figures, {
        "requests_per_minute": pattern.requests_per_minute,
        "invocations": seen.answered,
        "samples": seen.samples,
        "refused_by_the_judge": refused,
        "invocation_s_p50_p99": [percentile(seen.seconds, 50), percentile(seen.seconds, 99)],
        "errors": seen.errors,
    }


if __name__ == "__main__":
    main()
