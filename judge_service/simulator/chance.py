"""Draws a call's latency and fault from the seed."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable
from itertools import accumulate
from random import Random

from msgspec import Struct

from judge_service.simulator.config import SimulatorConfig, fault_rates
from judge_service.simulator.faults import Fault
from judge_service.simulator.spells import Spells


class Draw(Struct, frozen=True, gc=False):
    """The latency and the fault of one call. in_spell: the fault is that of a spell."""

    fault: Fault | None
    latency_s: float
    in_spell: bool = False


class Chance:
    """Draws the latency and the fault of every call, in the order of arrival.

    Every call takes the same number of draws, so that another rate does not change the latencies.
    Scripted faults come first, then those of a spell, then random ones.
    """

    def __init__(self, config: SimulatorConfig, spells: Spells | None = None) -> None:
        self._config = config
        self._random = Random(config.seed)
        rates = fault_rates(config)
        self._faults: list[Fault] = list(rates)
        self._thresholds = list(accumulate(rates.values()))
        self._script: deque[Fault | None] = deque(config.faults)
        self._spells = spells or Spells(config.spells)
        self._draws = 0

    def script(self, faults: Iterable[Fault | None]) -> None:
        """Sets the faults of the next calls, in order; `None` is a call without one."""
        self._script.extend(faults)

    def draw(self, now_s: float = 0.0) -> Draw:
        """The latency and the fault of a call that arrives now."""
        random = self._random
        self._draws += 1
        normal, tail, fault, coin = (
            random.gauss(),
            random.random(),
            random.random(),
            random.random(),
        )
        befallen, fault = self._spells.fault(fault, now_s)
        scripted = bool(self._script)
        drawn = self._script.popleft() if scripted else befallen or self._fault(fault)
        if drawn == "error_5xx":
            drawn = "internal_error" if coin < 0.5 else "unavailable"
        median_s = self._spells.latency_median_s(self._config.latency_median_s, now_s)
        latency_s = self._latency_s(median_s, normal, tail)
        return Draw(drawn, latency_s, befallen is not None and not scripted)

    def _fault(self, drawn: float) -> Fault | None:
        place = bisect_right(self._thresholds, drawn)
        return self._faults[place] if place < len(self._faults) else None

    def _latency_s(self, median_s: float, normal: float, tail: float) -> float:
        config = self._config
        latency_s = median_s * math.exp(config.latency_sigma * normal)
        return latency_s * config.tail_factor if tail < config.tail_probability else latency_s

    def __repr__(self) -> str:
        return f"<Chance draws={self._draws} scripted={len(self._script)}>"
