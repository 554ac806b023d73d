"""Drawing a call's latency and fault from the seed."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import accumulate
from random import Random

from msgspec import Struct

from judge_service.simulator.config import SimulatorConfig, fault_rates
from judge_service.simulator.faults import Fault


class Draw(Struct, frozen=True, gc=False):
    """What happens to one call."""

    fault: Fault | None
    latency_s: float


class Chance:
    """The fate of every call, in the order of their arrival.

    Each call takes the same number of draws whatever happens to it, so that changing one rate does
    not reshuffle the latencies. Scripted faults come first.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self._config = config
        self._random = Random(config.seed)
        rates = fault_rates(config)
        self._faults: list[Fault] = list(rates)
        self._thresholds = list(accumulate(rates.values()))
        self._script: deque[Fault | None] = deque(config.faults)
        self._draws = 0

    def script(self, faults: Iterable[Fault | None]) -> None:
        """The next calls meet these faults, in order; `None` is a call without one."""
        self._script.extend(faults)

    def draw(self) -> Draw:
        random = self._random
        self._draws += 1
        normal, tail, fault, coin = (
            random.gauss(),
            random.random(),
            random.random(),
            random.random(),
        )
        drawn = self._script.popleft() if self._script else self._fault(fault)
        if drawn == "error_5xx":
            drawn = "internal_error" if coin < 0.5 else "unavailable"
        return Draw(drawn, self._latency_s(normal, tail))

    def _fault(self, drawn: float) -> Fault | None:
        place = bisect_right(self._thresholds, drawn)
        return self._faults[place] if place < len(self._faults) else None

    def _latency_s(self, normal: float, tail: float) -> float:
        config = self._config
        latency_s = config.latency_median_s * math.exp(config.latency_sigma * normal)
        return latency_s * config.tail_factor if tail < config.tail_probability else latency_s

    def __repr__(self) -> str:
        return f"<Chance draws={self._draws} scripted={len(self._script)}>"
