"""Measures the use of a quota under refusals, other tenants, storms and slow spells.

    python loadtest/world.py                       (all, twenty minutes; `make bench-world`)
    python loadtest/world.py --virtual             (all in virtual time, some minutes of CPU)
    python loadtest/world.py --virtual --only _6000$
    python loadtest/world.py --virtual --only random_latency --seed 17

`scenario.py` has the scenarios. Storms, and the sends after slow spells, are always measured in virtual
time; all others with real sockets and the simulator in a separate process, unless `--virtual`
is given. Figures come from the judge's counts. `--only` takes patterns of names. With it, `--virtual`,
`--seed` or `--seeds` no result is written. In virtual time the same seed gives the same run.
"""

import argparse
import asyncio
import json
import os
import random
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import aclosing
from itertools import count, groupby
from typing import Any

import msgspec
from measuring import ENVIRON, MODEL, line, report, sample, say, simulator
from msgspec import Struct
from scenario import Scenario, in_virtual_time, on_sockets
from world_figures import Reading, Run, details_of, figures_of
from world_judge import WorldJudge

from judge_service import JudgeService, Sample, open_service
from judge_service.service import Lane
from judge_service.simulator import Statistics
from judge_service.telemetry.events import Event, SampleGraded
from judge_service.testing import run_virtual

ALONE_PER_MINUTE = 30_000
"""Calls a minute above which a judge needs both cores, so that it is measured alone."""
SOCKETS_AT_ONCE = 4
WORDS = 8
"""Of each response: short, because a thousand calls a second leave little CPU, and only calls are counted."""
SMOKE_SECONDS, SMOKE_SEEDS = 8, 3

Read = Callable[[], Awaitable[Statistics]]


class Task(Struct, frozen=True):
    """One planned run."""

    scenario: Scenario
    seed: int
    is_virtual: bool


def main() -> None:
    options = read_options()
    tasks = [task for task in planned(options) if wanted(task.scenario.name, options.only)]
    if not tasks:
        sys.exit("there is no such scenario; `--list` shows all")
    if options.list:
        print("\n".join(dict.fromkeys(task.scenario.name for task in tasks)))
        return
    runs = list(run_all(tasks, options.workers))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for name, of_name in groupby(runs, key=lambda run: run.scenario.name):
        group = list(of_name)
        figures += figures_of(group)
        details[name] = details_of(group)
    if options.show:
        for name, measured in details.items():
            print(f"{name}: {json.dumps(measured)}")
    is_part = options.only or options.seed is not None or options.seeds < sys.maxsize
    if not options.smoke and (options.virtual or is_part):
        print(*map(line, figures), "(a part, or in virtual time: nothing was written)", sep="\n")
    else:
        report("world", figures, details, smoke=options.smoke)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--smoke", action="store_true", help="tiny sizes; writes no result")
    parser.add_argument("--virtual", action="store_true", help="everything in virtual time")
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        metavar="PATTERN",
        help="pattern of names, may be repeated",
    )
    parser.add_argument("--list", action="store_true", help="print only the names")
    parser.add_argument("--show", action="store_true", help="print the details as well")
    parser.add_argument("--seed", type=int, help="run only this seed")
    parser.add_argument("--seeds", type=int, help="most seeds, from 0 on")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="number of processes")
    options = parser.parse_args()
    options.seeds = options.seeds or (SMOKE_SEEDS if options.smoke else sys.maxsize)
    return options


def planned(options: argparse.Namespace) -> Iterator[Task]:
    real = [(scenario, options.virtual) for scenario in on_sockets()]
    virtual = [(scenario, True) for scenario in in_virtual_time()]
    for scenario, is_virtual in real + virtual:
        seconds = SMOKE_SECONDS if options.smoke else scenario.seconds
        sized = msgspec.structs.replace(scenario, seconds=seconds)
        for seed in range(scenario.seed, scenario.seed + scenario.seeds):
            if options.seed in (None, seed) and seed < options.seeds:
                yield Task(sized, seed, is_virtual)


def wanted(name: str, patterns: list[str]) -> bool:
    return not patterns or any(re.search(pattern, name) for pattern in patterns)


def run_all(tasks: list[Task], workers: int) -> Iterable[Run]:
    """All runs in the order of the tasks: real time first, small quotas in parallel."""
    small = [task for task in tasks if not task.is_virtual and not is_large(task)]
    large = [task for task in tasks if not task.is_virtual and is_large(task)]
    virtual = [task for task in tasks if task.is_virtual]
    runs: dict[tuple[str, int], Run] = {}
    for group, at_once in ((small, SOCKETS_AT_ONCE), (large, 1), (virtual, workers)):
        with ProcessPoolExecutor(at_once) as pool:
            for task, run in zip(group, pool.map(run_one, group), strict=True):
                runs[task.scenario.name, task.seed] = run
                say(f"{task.scenario.name}, seed {task.seed}: done")
    return [runs[task.scenario.name, task.seed] for task in tasks]


def is_large(task: Task) -> bool:
    return task.scenario.per_minute > ALONE_PER_MINUTE


def run_one(task: Task) -> Run:
    random.seed(task.seed)  # the jitter of the service's waits
    scenario, seed = task.scenario, task.seed
    if task.is_virtual:
        return run_virtual(in_virtual(scenario, seed))
    with simulator(**scenario.config(seed)) as judge:
        return asyncio.run(over_sockets(scenario, seed, judge))


async def in_virtual(scenario: Scenario, seed: int) -> Run:
    world = WorldJudge(scenario.simulator(seed))

    async def read() -> Statistics:
        return world.read()

    model: Any = world
    unscored, settings = Unscored(), scenario.settings("http://none")
    async with open_service(settings, environ={}, sink=unscored, model=model) as judge:
        return await drive(judge, scenario, seed, unscored, read)


async def over_sockets(scenario: Scenario, seed: int, simulated: Any) -> Run:
    async def read() -> Statistics:
        return msgspec.json.decode(await asyncio.to_thread(simulated.read), type=Statistics)

    unscored = Unscored()
    async with open_service(
        scenario.settings(simulated.url), environ=ENVIRON, sink=unscored
    ) as judge:
        return await drive(judge, scenario, seed, unscored, read)


class Unscored:
    """A sink that counts samples that were not scored."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, SampleGraded):
            self.count += event.reward.score is None


async def drive(
    judge: JudgeService, scenario: Scenario, seed: int, unscored: Unscored, read: Read
) -> Run:
    """Judges as fast as possible, and reads the judge's counts every second."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    numbers = count()
    loads = [asyncio.create_task(load(judge, scenario, lane, numbers)) for lane in scenario.lanes]
    readings = []
    for second in range(scenario.seconds + 1):
        await asyncio.sleep(started_s + second - loop.time())
        at_s = round(loop.time() - started_s, 3)  # 5.9999999 is the sixth second
        readings.append(reading_of(at_s, await read()))
    for task in loads:
        if task.done():
            raise RuntimeError("the load ended too early") from task.exception()
        task.cancel()
    await asyncio.wait(loads)
    return Run(scenario, seed, readings, unscored.count)


async def load(judge: JudgeService, scenario: Scenario, lane: Lane, numbers: Iterator[int]) -> None:
    """Judges endless samples."""

    def jobs() -> Iterator[tuple[int, Sample]]:
        for number in numbers:
            yield number, sample(number, WORDS)

    async with aclosing(judge.stream(jobs(), window=scenario.waiting, lane=lane)) as rewards:
        async for _ in rewards:
            pass


def reading_of(at_s: float, seen: Statistics) -> Reading:
    quota = seen.quotas.get(MODEL)
    return Reading(
        at_s=at_s,
        sent=seen.calls,
        worst_sent=seen.worst_window_calls,
        answered=seen.answered,
        accepted=quota.admitted if quota else 0,
        refused_by_quota=quota.refused_requests if quota else 0,
        refused_at_random=seen.by_fault.get("throttle", 0),
        refused_in_storm=seen.by_spell.get("throttle", 0),
    )


if __name__ == "__main__":
    main()
