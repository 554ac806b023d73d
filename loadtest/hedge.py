"""Measures the duration of batches with and without hedging (a second copy of slow calls).

    python loadtest/hedge.py [--batches 25]

A batch has 64 samples, for a judge with a median of 300 ms and one call in 50 eight times slower. The two
services take turns, each with its own simulator, which counts the calls. The first batches do
not count, because hedging must learn the latencies.
"""

import asyncio
import statistics
from typing import Any

from measuring import (
    ENVIRON,
    Simulated,
    at_most,
    report,
    sample,
    say,
    settings_for,
    simulator,
    sizes,
    spread,
)

from judge_service import JudgeService, open_service

BATCH = 64
WARM_UP_BATCHES = 4
JUDGE = {
    "latency_median_s": 0.3,
    "latency_sigma": 0.1,
    "tail_probability": 0.02,
    "tail_factor": 8.0,
}


class Side:
    """One of the two services, with its measurements."""

    def __init__(self, judge: JudgeService, simulated: Simulated) -> None:
        self._judge = judge
        self._simulated = simulated
        self._evaluations = 0
        self.took_s: list[float] = []

    async def judge_batch(self, number: int) -> None:
        loop = asyncio.get_running_loop()
        samples = [sample(number * BATCH + place) for place in range(BATCH)]
        started_s = loop.time()
        rewards = await self._judge.score(samples)
        if any(reward.score is None for reward in rewards):
            raise RuntimeError("a sample was not judged; the figures would be wrong")
        self._evaluations += BATCH
        if number >= WARM_UP_BATCHES:
            self.took_s.append(loop.time() - started_s)

    def extra_percent(self) -> float:
        """Calls beyond one for each evaluation, including the warm-up."""
        calls = self._simulated.statistics()["calls"]
        return 100.0 * (int(calls) / self._evaluations - 1)


def main() -> None:
    options = sizes(__doc__, batches=(25, 2))
    with simulator(**JUDGE, seed=1) as without, simulator(**JUDGE, seed=1) as hedged:
        off, on = asyncio.run(take_turns(without, hedged, options.batches))
        extra_off, extra_on = off.extra_percent(), on.extra_percent()
    ratio = statistics.median(on.took_s) / statistics.median(off.took_s)
    figures = [
        at_most("median batch of 64, hedge on over off", ratio, 0.5, "times"),
        at_most("extra calls with hedge on", extra_on, 5.0, "%"),
        at_most("extra calls with hedge off", extra_off, 0.0, "%"),
    ]
    details: dict[str, Any] = {
        "batches": options.batches,
        "batch": BATCH,
        "judge": JUDGE,
        "batch_s_off": spread(off.took_s),
        "batch_s_on": spread(on.took_s),
    }
    print(f"  a batch took {details['batch_s_off']} s without, {details['batch_s_on']} s with")
    report("hedge", figures, details, smoke=options.smoke)


async def take_turns(without: Simulated, hedged: Simulated, batches: int) -> tuple[Side, Side]:
    cache = {"max_entries": 0}
    hedge = {"enabled": True}
    async with (
        open_service(settings_for(without.url, cache=cache), environ=ENVIRON) as plain,
        open_service(
            settings_for(hedged.url, cache=cache, hedge=hedge), environ=ENVIRON
        ) as doubled,
    ):
        off, on = Side(plain, without), Side(doubled, hedged)
        for number in range(WARM_UP_BATCHES + batches):
            await off.judge_batch(number)
            await on.judge_batch(number)
            if number % 5 == 4:
                say(f"batch {number + 1} of {WARM_UP_BATCHES + batches}")
        await asyncio.sleep(3)  # abandoned copies end
        return off, on


if __name__ == "__main__":
    main()
