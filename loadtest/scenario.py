"""Scenarios of a judge as data: refusals, faults, other tenants, storms, slow spells.

`world.py` runs them with `Simulated` judges in real time and with `WorldJudge` in virtual time.
"""

from random import Random
from typing import Any, Literal

import msgspec
from measuring import settings_for
from msgspec import Struct

from judge_service import Settings
from judge_service.service import Lane
from judge_service.simulator import SimulatorConfig, Spell

Question = Literal["goodput", "tenant", "too_high", "storm", "sends"]

QUOTAS = (2_000, 6_000, 60_000)
WARM_UP_S = 6
"""Figures count from the sixth second on."""
RANDOM_SEEDS = 200
SETTLED_S = 10
"""Seconds after which a quota that is set too high must be detected, and a storm be overcome."""


class Scenario(Struct, frozen=True, kw_only=True):
    """The behaviour of a judge, and the settings of the service that uses it.

    asks: the figures of the scenario. at_least: for `goodput`, the required percentage.
    per_minute: the judge's quota of requests. configured_factor: ratio of the service's configured quota to
        the judge's. is_enforced: `False` for a judge that never refuses, to measure sends without refusals.
    refused_share: of the calls, refused at random. fault_rates: other faults, by their name.
    spells: tenants, storms, slow spells. refill: how the judge keeps its quota.
    latency_s, latency_sigma: log-normal. slots: `limits.max_in_flight`.
    lanes: one endless stream of samples for each. waiting: samples in work in each stream, `None` for
        as many as in `judge score`. seconds: duration.
    seed, seeds: first seed and number of seeds. The worst run counts.
    """

    name: str
    asks: Question
    at_least: float = 97.0
    per_minute: float = 6_000
    configured_factor: float = 1.0
    is_enforced: bool = True
    refused_share: float = 0.0
    fault_rates: dict[str, float] = {}
    spells: tuple[Spell, ...] = ()
    refill: Literal["continuous", "minute", "window"] = "continuous"
    latency_s: float = 0.3
    latency_sigma: float = 0.0
    slots: int = 512
    lanes: tuple[Lane, ...] = ("training",)
    waiting: int | None = None
    seconds: int = 50
    seed: int = 0
    seeds: int = 1

    def config(self, seed: int) -> dict[str, Any]:
        """The fields of its `SimulatorConfig`, as builtins."""
        return {
            "seed": seed,
            "requests_per_minute": self.per_minute if self.is_enforced else None,
            "refill": self.refill,
            "latency_median_s": self.latency_s,
            "latency_sigma": self.latency_sigma,
            "throttle_rate": self.refused_share,
            "spells": msgspec.to_builtins(self.spells),
            "max_events": 0,
            "max_tracked_prompts": 0,
            **{f"{fault}_rate": rate for fault, rate in self.fault_rates.items()},
        }

    def simulator(self, seed: int) -> SimulatorConfig:
        return msgspec.convert(self.config(seed), SimulatorConfig)

    def settings(self, url: str) -> Settings:
        limits = {
            "requests_per_minute": self.per_minute * self.configured_factor,
            "max_in_flight": self.slots,
        }
        return settings_for(url, limits=limits, cache={"max_entries": 0})

    def left_s(self, begin_s: float, end_s: float) -> float:
        """The quota that other tenants leave between two times, in seconds of the full quota."""
        taken_s = sum(
            spell.value * (spell.lasted_s(end_s) - spell.lasted_s(begin_s))
            for spell in self.spells
            if spell.kind == "tenant"
        )
        return end_s - begin_s - taken_s


def refusals() -> list[Scenario]:
    """Random refusals with several quotas, many refusals, and refusals with other faults."""
    few = [
        Scenario(
            name=f"refused_{share:g}_percent_of_{quota}",
            asks="goodput",
            per_minute=quota,
            refused_share=share / 100,
        )
        for quota in QUOTAS
        for share in (0.2, 1, 3)
    ]
    many = [
        Scenario(
            name=f"refused_10_percent_of_{quota}",
            asks="goodput",
            at_least=90.0,
            per_minute=quota,
            refused_share=0.1,
        )
        for quota in QUOTAS
    ]
    mixed = [
        Scenario(
            name=f"refused_3_percent_and_faults_of_{quota}",
            asks="goodput",
            at_least=90.0,
            per_minute=quota,
            refused_share=0.03,
            fault_rates={"error_5xx": 0.02, "reset": 0.01, "garbage": 0.01},
        )
        for quota in QUOTAS
    ]
    return few + many + mixed


def tenants() -> list[Scenario]:
    """Another tenant takes 70 % of the quota: from 20 s on, or in turns of 30 s."""
    arrives = Spell("tenant", at_s=20, value=0.7)
    comes_and_goes = Spell("tenant", at_s=30, for_s=30, every_s=60, value=0.7)
    return [
        Scenario(
            name=f"{name}_{quota}", asks="tenant", per_minute=quota, spells=(spell,), seconds=s
        )
        for quota in QUOTAS
        for name, spell, s in (
            ("tenant_from_20_s_of", arrives, 80),
            ("tenant_in_turns_of_30_s_of", comes_and_goes, 126),
        )
    ]


def too_high() -> list[Scenario]:
    """The service is configured with three times the judge's quota."""
    return [
        Scenario(
            name=f"told_3_times_{quota}", asks="too_high", per_minute=quota, configured_factor=3.0
        )
        for quota in QUOTAS
    ]


def storms() -> list[Scenario]:
    """The judge refuses everything for 60 s, at two latencies, twenty seeds each."""
    return [
        Scenario(
            name=f"storm_at_a_judge_of_{latency_s:g}_s",
            asks="storm",
            spells=(Spell("throttle", at_s=20, for_s=60),),
            latency_s=latency_s,
            latency_sigma=0.3,
            seconds=110,
            seeds=20,
        )
        for latency_s in (0.3, 2.0)
    ]


def slow_spells() -> list[Scenario]:
    """Judges that are slow for a while; measures the calls sent after they are fast again."""
    return [
        Scenario(
            name=f"sends_{quota}_a_minute_{slots}_slots_slow_{slow_s:g}_s_for_{for_s:g}_s",
            asks="sends",
            per_minute=quota,
            is_enforced=False,
            spells=(Spell("slow", at_s=at_s, for_s=for_s, value=slow_s),),
            latency_s=latency_s,
            slots=slots,
            waiting=3 * quota,
            seconds=180,
        )
        for quota, slots, slow_s, at_s, for_s, latency_s in (
            (600, 10, 20, 10, 60, 0.05),
            (600, 10, 2, 20, 20, 0.3),
            (2_000, 64, 10, 20, 30, 0.3),
            (2_000, 256, 15, 20, 30, 0.3),
            (2_000, 256, 30, 20, 30, 0.3),
            (2_000, 256, 60, 20, 20, 0.3),
        )
    ]


def random_latency(seed: int) -> Scenario:
    """A judge with slow spells drawn from the seed."""
    random = Random(seed)
    spells = tuple(
        Spell(
            "slow",
            at_s=random.uniform(30 * place, 30 * place + 15),
            for_s=random.uniform(2, 30),
            value=random.choice((0.05, 1, 2, 5, 10, 20, 30)),
        )
        for place in range(3)
    )
    per_minute = random.choice((300, 600))
    return Scenario(
        name="sends_with_random_latency",
        asks="sends",
        per_minute=per_minute,
        waiting=3 * per_minute,
        is_enforced=False,
        spells=spells,
        latency_s=random.choice((0.05, 0.3, 1)),
        latency_sigma=random.choice((0, 0.3, 1)),
        slots=random.choice((8, 10, 64, 256)),
        seconds=120,
        seed=seed,
    )


def on_sockets() -> list[Scenario]:
    """The scenarios that are measured in real time, with the simulator in a separate process."""
    return [*refusals(), *tenants(), *too_high()]


def in_virtual_time() -> list[Scenario]:
    """The scenarios that need many seeds, or a count of the sent calls."""
    return [*storms(), *slow_spells(), *(random_latency(seed) for seed in range(RANDOM_SEEDS))]
