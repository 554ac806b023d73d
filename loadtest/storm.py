"""Measures a storm: a judge throttles every call for a minute. Counts the calls in it and after it.

    python loadtest/storm.py [--calm-s 10] [--storm-s 60] [--after-s 20]

It uses real sockets; service and simulator share one loop and therefore one clock. The load is constant.
"""

import asyncio
import itertools
from collections.abc import Iterator
from typing import Any

from measuring import (
    ENVIRON,
    at_least,
    at_most,
    report,
    sample,
    say,
    settings_for,
    sizes,
)
from msgspec import Struct

from judge_service import JudgeService, Sample, open_service
from judge_service.simulator import Simulator, SimulatorConfig, Spell, simulate

PER_MINUTE = 6_000.0
LATENCY_S = 0.3
WINDOW = 400
RECOVERY_S = 10.0
MAX_EVENTS = 500_000
"""Limit of logged calls; the benchmark sends fewer."""


class Storm(Struct, frozen=True):
    """The times of a storm's beginning and end and of the end of counting, and of calls; all in seconds.

    during: calls between beginning and end. admitted: calls admitted after it.
    """

    began_s: float
    ended_s: float
    closed_s: float
    during: list[float]
    admitted: list[float]


def main() -> None:
    options = sizes(__doc__, calm_s=(10.0, 2.0), storm_s=(60.0, 3.0), after_s=(20.0, 12.0))
    storm, unscored = asyncio.run(ride_out(options.calm_s, options.storm_s, options.after_s))
    lasted_s = storm.ended_s - storm.began_s
    late = [at_s for at_s in storm.during if at_s >= storm.began_s + 5]
    figures = [
        at_most("calls during the storm", len(storm.during) / lasted_s, 1.1, "/s"),
        at_least("quota used from 10 s after the storm on", 100 * recovered(storm), 90.0, "%"),
        at_most("evaluations not scored", unscored, 0),
    ]
    details: dict[str, Any] = {
        "calm_s": options.calm_s,
        "storm_s": options.storm_s,
        "requests_per_minute": PER_MINUTE,
        "calls_per_s_after_the_first_5_s": round(len(late) / max(lasted_s - 5, 1), 3),
        "calls_in_each_second_of_it": by_second(storm.during, storm.began_s, storm.ended_s),
        "admitted_in_each_second_after_it": by_second(
            storm.admitted, storm.ended_s, storm.closed_s
        ),
    }
    print(f"  calls/s after its first 5 s: {details['calls_per_s_after_the_first_5_s']}")
    report("storm", figures, details, smoke=options.smoke)


async def ride_out(calm_s: float, storm_s: float, after_s: float) -> tuple[Storm, int]:
    """Runs the test. Returns the judge's counts, and the number of samples without a score."""
    config = SimulatorConfig(
        requests_per_minute=PER_MINUTE,
        latency_median_s=LATENCY_S,
        latency_sigma=0.0,
        spells=(Spell("throttle", at_s=calm_s, for_s=storm_s),),
        max_events=MAX_EVENTS,
    )
    async with simulate(config) as simulator:
        settings = settings_for(
            simulator.url, limits={"requests_per_minute": PER_MINUTE}, cache={"max_entries": 0}
        )
        async with open_service(settings, environ=ENVIRON) as judge:
            over = asyncio.Event()
            load = asyncio.create_task(judge_until(judge, over))
            try:
                storm = await weather(simulator, calm_s, storm_s, after_s)
            finally:
                over.set()
            say("counting is over; waiting for what is still at work")
            return storm, await asyncio.wait_for(load, 120)


async def weather(simulator: Simulator, calm_s: float, storm_s: float, after_s: float) -> Storm:
    """Waits until the storm is over. Times count from the first call, like in the simulator."""
    say(f"{calm_s:g} s of calm, then a storm of {storm_s:g} s")
    await asyncio.sleep(calm_s + storm_s + after_s)
    calls = simulator.events()
    began_s = min(call.started_s for call in calls) + calm_s
    ended_s = began_s + storm_s
    during = [call.started_s for call in calls if call.in_spell]
    admitted = [call.started_s for call in calls if call.status == 200]
    after = [at_s for at_s in admitted if at_s >= ended_s]
    return Storm(began_s, ended_s, asyncio.get_running_loop().time(), during, after)


async def judge_until(judge: JudgeService, over: asyncio.Event) -> int:
    """Judges until `over` is set. Returns the number of samples without a score."""

    def jobs() -> Iterator[tuple[int, Sample]]:
        for number in itertools.count():
            if over.is_set():
                return
            yield number, sample(number)

    unscored = 0
    async for _, reward in judge.stream(jobs(), window=WINDOW):
        unscored += reward.score is None
    return unscored


def recovered(storm: Storm) -> float:
    """Used share of the quota from 10 s after the storm to the time when the last call can end."""
    begin_s, end_s = storm.ended_s + RECOVERY_S, storm.closed_s - 2 * LATENCY_S
    counted = sum(begin_s <= at_s < end_s for at_s in storm.admitted)
    return counted / (PER_MINUTE / 60 * (end_s - begin_s))


def by_second(times_s: list[float], begin_s: float, end_s: float) -> list[int]:
    found = [0] * (int(end_s - begin_s) + 1)
    for at_s in times_s:
        found[int(at_s - begin_s)] += 1
    return found


if __name__ == "__main__":
    main()
