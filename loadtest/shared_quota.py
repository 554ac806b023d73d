"""Many real processes and one quota: shared through a real Redis that is killed, and without a store.

    python loadtest/shared_quota.py [--processes 40] [--steady-s 70] [--down-s 10] [--after-s 65]
        [--refused-s 40]

Through Redis: each process is a gate in front of a pretended judge of 50 ms, always with more to do
than it may. After `steady-s` the server is killed, after `down-s` more it is started again, empty. When
a call began is read from the system's monotonic clock, which all processes share. Then once more, with a
judge that refuses 1 % of the calls at random.

Without a store: each process is the whole judge, told its share of the quota, against the simulator
over HTTP; once with the right share, once with twice the share, as after the processes have doubled.

Needs redis-server (or valkey-server) on PATH and Linux.
"""

import asyncio
import itertools
import math
import random
import subprocess
import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
from gates import open_gate
from measuring import (
    ENVIRON,
    MODEL,
    Simulated,
    at_least,
    at_most,
    report,
    sample,
    say,
    settings_for,
    simulator,
    sizes,
)
from msgspec import Struct
from msgspec.structs import replace
from redis_server import Redis

from judge_service import open_service
from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.lease import QuotaLease
from judge_service.flow.stores import Ask, Lease
from judge_service.flow.stores.redis import RedisStore
from judge_service.telemetry.events import Event, StoreBack

CALLS_PER_S = 10
"""Of the quota, a process: 400 a second for 40."""

JUDGE_S = 0.05
REFUSAL_S, REFUSED_SHARE = 0.005, 0.01
WORKERS = 24
START_S = 20.0
"""For 40 interpreters on two cores: one that starts late takes CPU from those that are counted."""

WARM_UP_S = 5.0
CONVERGED_S = 30.0


class Plan(Struct, frozen=True):
    """What a worker is told. Times are of the monotonic clock."""

    url: str
    requests_per_minute: float
    start_s: float
    end_s: float
    number: int = 0
    refused_share: float = 0.0


class Seen(Struct):
    """What a worker has seen. began, asked: when its calls began, when it asked the store."""

    began_s: list[float]
    asked_s: list[float]
    back_s: list[float]
    unfinished: int
    answered_s: list[float] = []


def main() -> None:
    if sys.argv[1:2] == ["worker"]:
        work(sys.argv[2], msgspec.json.decode(sys.argv[3], type=Plan))
        return
    options = sizes(
        __doc__,
        processes=(40, 6),
        steady_s=(70.0, 4.0),
        down_s=(10.0, 2.0),
        after_s=(65.0, 5.0),
        alone_s=(60.0, 3.0),
        refused_s=(40.0, 3.0),
    )
    figures, details = through_redis(options)
    found = with_refusals(options)
    what = f"shared, {REFUSED_SHARE:.0%} refused at random: answered, of the quota"
    figures.append(at_least(what, found, 0.95))
    for name, factor in (("right_share", 1.0), ("twice_the_share", 2.0)):
        say(f"no store, {name}")
        found = without_a_store(options, factor)
        details[f"no_store_{name}"] = found
        if factor == 1.0:
            what = "no store, 40 processes, after 30 s: "
            figures.append(at_most(f"{what}throttled", found["throttled"], 0.02))
            figures.append(at_least(f"{what}used", found["used"], 0.9))
    report("shared_quota", figures, details, smoke=options.smoke)


# Through Redis


def through_redis(options: Any) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    quota_per_s = CALLS_PER_S * options.processes
    begin_s = time.monotonic() + (2.0 if options.smoke else START_S)
    lost_at_s = begin_s + WARM_UP_S + options.steady_s
    end_s = lost_at_s + options.down_s + options.after_s
    say(f"{options.processes} processes, {quota_per_s} calls/s in all, through Redis")
    with Redis() as redis:
        plan = Plan(redis.url, quota_per_s * 60.0, begin_s, end_s)
        with workers("shared", options.processes, plan) as end:
            up_at_s = lose(redis, lost_at_s, options.down_s)
            seen = end()
    span = (begin_s + WARM_UP_S, lost_at_s)
    steady, shown = in_steady_state(seen, span, quota_per_s)
    event, event_shown = around_the_loss(seen, lost_at_s, up_at_s, quota_per_s)
    return steady + event, {"processes": options.processes, **shown, **event_shown}


def with_refusals(options: Any) -> float:
    """What is answered from `WARM_UP_S` on, as a part of the quota."""
    quota_per_s = CALLS_PER_S * options.processes
    begin_s = time.monotonic() + (2.0 if options.smoke else START_S)
    from_s = begin_s + WARM_UP_S
    end_s = from_s + options.refused_s
    say(f"{options.processes} processes through Redis, {REFUSED_SHARE:.0%} refused at random")
    with Redis() as redis:
        plan = Plan(redis.url, quota_per_s * 60.0, begin_s, end_s, refused_share=REFUSED_SHARE)
        with workers("shared", options.processes, plan) as end:
            seen = end()
    answered_s = sorted(itertools.chain.from_iterable(one.answered_s for one in seen))
    return between(answered_s, from_s, end_s) / (quota_per_s * options.refused_s)


def lose(redis: "Redis", lost_at_s: float, down_s: float) -> float:
    """Kills it and starts it again; gives when it was up."""
    sleep_until(lost_at_s)
    redis.kill()
    say("Redis killed")
    sleep_until(lost_at_s + down_s)
    redis.start()
    say("Redis started again, empty")
    return time.monotonic()


def in_steady_state(
    seen: list[Seen], span: tuple[float, float], quota_per_s: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    before = [at_s for at_s in all_began_s(seen) if at_s < span[1]]
    by_process = [between(sorted(one.began_s), *span) for one in seen]
    operations = sum(between(sorted(one.asked_s), *span) for one in seen)
    used = sum(by_process) / (quota_per_s * (span[1] - span[0]))
    figures = [
        at_least("shared: used", used, 0.98),
        at_most("shared: worst 60 s window", worst_window(before, quota_per_s), 1.01),
        at_least("shared: Jain fairness", jain(by_process), 0.97),
        at_most("shared: operations an evaluation", operations / sum(by_process), 0.1),
    ]
    by_process.sort()
    return figures, {"quota_calls_per_s": quota_per_s, "calls_by_process": by_process}


def around_the_loss(
    seen: list[Seen], lost_at_s: float, up_at_s: float, quota_per_s: float
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    began_s = all_began_s(seen)
    around = [at_s for at_s in began_s if at_s >= lost_at_s - 60]
    late_s = max(
        min((at_s for at_s in one.back_s if at_s > lost_at_s), default=math.inf) - up_at_s
        for one in seen
    )
    figures = [
        at_most("Redis killed: worst 60 s window", worst_window(around, quota_per_s), 1.02),
        at_most("Redis back, empty: all in shared mode after", late_s, 2.0, "s"),
        at_most("Redis killed: evaluations lost", sum(one.unfinished for one in seen), 0),
    ]
    down_s = up_at_s - lost_at_s
    seconds = range(-3, int(down_s) + 8)
    counts = [between(began_s, lost_at_s + n, lost_at_s + n + 1) for n in seconds]
    return figures, {
        "down_s": round(down_s, 2),
        "calls_each_second_from_3_s_before_the_loss": counts,
        "used_while_down": between(began_s, lost_at_s, up_at_s) / (quota_per_s * down_s),
    }


class Watched:
    """The store, and when it was asked."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self.asked_s: list[float] = []

    async def lease(self, quota: str, ask: Ask) -> Lease:
        self.asked_s.append(time.monotonic())
        return await self._store.lease(quota, ask)

    async def aclose(self) -> None:
        await self._store.aclose()


async def share(plan: Plan) -> Seen:
    """A worker behind Redis."""
    seen, store = Seen([], [], [], 0), Watched(RedisStore(plan.url))
    gate = open_gate({"requests": plan.requests_per_minute}, (1,))

    def note(event: Event) -> None:
        if isinstance(event, StoreBack):
            seen.back_s.append(time.monotonic())

    async def judge(_request: Request[None]) -> None:
        seen.began_s.append(time.monotonic())
        if random.random() < plan.refused_share:
            await asyncio.sleep(REFUSAL_S)
            raise Throttled("refused at random")
        await asyncio.sleep(JUDGE_S)
        seen.answered_s.append(time.monotonic())

    async def evaluate() -> None:
        while time.monotonic() < plan.end_s:
            seen.unfinished += 1
            with suppress(Throttled):
                await gate(Request(None), judge)
            seen.unfinished -= 1

    quota = {"requests": plan.requests_per_minute}
    shared = QuotaLease(gate, store=store, quota="loadtest", per_minute=quota, sink=note)
    shared.start()
    await asyncio.sleep(plan.start_s - time.monotonic())
    # what still waits at the end ends too: it takes a round more
    await asyncio.wait_for(
        asyncio.gather(*(evaluate() for _ in range(WORKERS))), 60 + plan.end_s - time.monotonic()
    )
    await shared.aclose()
    await store.aclose()
    seen.asked_s = store.asked_s
    return seen


# Without a store


def without_a_store(options: Any, factor: float) -> dict[str, float]:
    """What the simulator saw after `CONVERGED_S`."""
    quota_per_s = CALLS_PER_S * options.processes
    begin_s = time.monotonic() + (3.0 if options.smoke else START_S)
    first_s = begin_s + (3.0 if options.smoke else CONVERGED_S)
    last_s = first_s + options.alone_s
    quota = {"requests_per_minute": quota_per_s * 60.0, "latency_median_s": JUDGE_S}
    with simulator(**quota) as simulated:
        plan = Plan(simulated.url, CALLS_PER_S * 60 * factor, begin_s, last_s + 0.5)
        with workers("alone", options.processes, plan):
            first, last = (quota_at(simulated, when_s) for when_s in (first_s, last_s))
    refused_before, refused = first["refused_requests"], last["refused_requests"]
    admitted_before, admitted = first["admitted"], last["admitted"]
    refused -= refused_before
    admitted -= admitted_before
    return {
        "told_share": factor,
        "used": admitted / (quota_per_s * options.alone_s),
        "throttled": refused / (admitted + refused),
        "throttled_before": refused_before / (admitted_before + refused_before),
    }


def quota_at(simulated: Simulated, when_s: float) -> Any:
    sleep_until(when_s)
    return simulated.statistics()["quotas"][MODEL]


async def judge_alone(plan: Plan) -> Seen:
    """A worker that is the whole judge, with a share of the quota of its own."""
    settings = settings_for(
        plan.url,
        limits={"requests_per_minute": plan.requests_per_minute},
        cache={"max_entries": 0},
    )
    first = plan.number * 10_000_000
    async with open_service(settings, environ=ENVIRON) as judge:
        await asyncio.sleep(max(0.0, plan.start_s - time.monotonic()))
        jobs = ((number, sample(number)) for number in itertools.count(first))
        try:
            async with asyncio.timeout(plan.end_s - time.monotonic()):
                async for _ in judge.stream(jobs, window=WORKERS):
                    pass
        except TimeoutError:
            pass
    return Seen([], [], [], 0)


# Processes


def work(mode: str, plan: Plan) -> None:
    """The body of a worker: prints what it has seen."""
    seen = asyncio.run(share(plan) if mode == "shared" else judge_alone(plan))
    sys.stdout.buffer.write(msgspec.json.encode(seen))


@contextmanager
def workers(mode: str, number: int, plan: Plan) -> Iterator[Callable[[], list[Seen]]]:
    """Starts them; what is given waits for their end and returns what they saw."""
    with tempfile.TemporaryDirectory() as directory:
        files = [Path(directory) / f"{n}.json" for n in range(number)]
        running = []
        for n, file in enumerate(files):
            told = msgspec.json.encode(replace(plan, number=n)).decode()
            command = [sys.executable, __file__, "worker", mode, told]
            with file.open("wb") as output:
                running.append(subprocess.Popen(command, stdout=output, stderr=subprocess.DEVNULL))

        def end() -> list[Seen]:
            codes = [
                process.wait(timeout=plan.end_s - time.monotonic() + 90) for process in running
            ]
            if any(codes):
                raise RuntimeError(f"{sum(map(bool, codes))} workers failed")
            return [msgspec.json.decode(file.read_bytes(), type=Seen) for file in files]

        try:
            yield end
            end()
        finally:
            for process in running:
                process.kill()


# Arithmetic


def sleep_until(when_s: float) -> None:
    time.sleep(max(0.0, when_s - time.monotonic()))


def all_began_s(seen: list[Seen]) -> list[float]:
    return sorted(itertools.chain.from_iterable(one.began_s for one in seen))


def between(began_s: Sequence[float], from_s: float, to_s: float) -> int:
    return bisect_left(began_s, to_s) - bisect_left(began_s, from_s)


def worst_window(began_s: Sequence[float], quota_per_s: float) -> float:
    """The fullest 60 s as a part of the quota."""
    most = max(bisect_left(began_s, at_s + 60) - n for n, at_s in enumerate(began_s))
    return most / (60 * quota_per_s)


def jain(amounts: Sequence[int]) -> float:
    return sum(amounts) ** 2 / (len(amounts) * sum(amount**2 for amount in amounts))


if __name__ == "__main__":
    main()
