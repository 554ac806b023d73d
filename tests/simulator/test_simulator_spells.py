import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.simulator import SimulatorConfig, Spell, simulate
from judge_service.simulator.chance import Chance
from judge_service.simulator.quota import Quota, Reservation
from judge_service.simulator.spells import Spells
from tests.simulator.raw_client import RawClient, asking, connect

IN_TURNS = Spell("tenant", at_s=30, for_s=30, every_s=60, value=0.7)


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def admitted(quota: Quota, begin_s: float, end_s: float, per_s: float = 100) -> int:
    """How many of the calls that come so often are let in."""
    times_s = [begin_s + n / per_s for n in range(round((end_s - begin_s) * per_s))]
    return sum(isinstance(quota.admit(1, at_s), Reservation) for at_s in times_s)


async def statuses(client: RawClient, calls: int) -> list[int]:
    return [(await client.ask(asking())).status for _ in range(calls)]


@pytest.mark.parametrize(
    ("spell", "holds", "lasted_s"),
    [
        (Spell("slow"), [0, 10, 1e9], {100: 100}),
        (Spell("slow", at_s=20), [20, 1e9], {10: 0, 100: 80}),
        (Spell("slow", at_s=20, for_s=60), [20, 79.9], {30: 10, 80: 60, 500: 60}),
        (IN_TURNS, [30, 59.9, 90, 119], {30: 0, 45: 15, 60: 30, 90: 30, 100: 40, 150: 60}),
    ],
)
def test_a_spell_holds_when_it_is_told_to(
    spell: Spell, holds: list[float], lasted_s: dict[float, float]
) -> None:
    assert all(map(spell.holds, holds))
    assert {until_s: spell.lasted_s(until_s) for until_s in lasted_s} == lasted_s


@pytest.mark.parametrize("spell", [Spell("slow", at_s=20, for_s=60), IN_TURNS])
def test_a_spell_does_not_hold_before_it_begins_or_after_it_ends(spell: Spell) -> None:
    end_s = spell.at_s + (spell.for_s or 0)

    assert not any(spell.holds(at_s) for at_s in (0, spell.at_s - 0.1, end_s, end_s + 29))


@given(
    st.builds(
        Spell,
        kind=st.just("slow"),
        at_s=st.integers(0, 40),
        for_s=st.integers(1, 20),
        every_s=st.none() | st.integers(20, 50),
    ),
    st.integers(0, 300),
)
def test_a_spell_has_lasted_as_many_seconds_as_it_held(spell: Spell, until_s: int) -> None:
    assert spell.lasted_s(until_s) == sum(map(spell.holds, range(until_s)))


def test_a_tenant_leaves_the_rest_of_a_continuous_quota() -> None:
    quota = Quota(SimulatorConfig(requests_per_minute=600, spells=(Spell("tenant", value=0.7),)))
    admitted(quota, 0, 10)  # the burst of the beginning

    assert admitted(quota, 10, 110) == pytest.approx(300, abs=1)


def test_a_tenant_that_comes_and_goes_takes_only_while_it_is_there() -> None:
    quota = Quota(SimulatorConfig(requests_per_minute=600, spells=(IN_TURNS,)))
    admitted(quota, 1000, 1001)

    turns = [(1001, 1030), (1030, 1060), (1060, 1090), (1090, 1120)]
    found = [admitted(quota, begin_s, end_s) for begin_s, end_s in turns]
    assert found == pytest.approx([290, 90, 300, 90], abs=1)


@pytest.mark.parametrize("refill", ["minute", "window"])
def test_a_tenants_part_of_a_window_is_set_aside(refill: Any) -> None:
    spell = Spell("tenant", at_s=60, value=0.7)
    quota = Quota(SimulatorConfig(requests_per_minute=600, refill=refill, spells=(spell,)))

    assert [admitted(quota, begin_s, begin_s + 60) for begin_s in (0, 60, 120)] == [600, 180, 180]


def test_a_tenant_takes_tokens_as_well() -> None:
    spell = Spell("tenant", value=0.5)
    quota = Quota(SimulatorConfig(tokens_per_minute=600, refill="minute", spells=(spell,)))

    assert admitted(quota, 0, 60) == 300


def test_tenants_together_take_no_more_than_there_is() -> None:
    spells = Spells((Spell("tenant", value=0.7), Spell("tenant", at_s=10, value=0.7)))

    assert spells.taken_s(0, 10) == pytest.approx(7)
    assert spells.taken_s(10, 20) == 10


def test_a_window_below_the_minute_refuses_the_rest_of_each_second() -> None:
    quota = Quota(SimulatorConfig(requests_per_minute=600, refill="window"))

    assert [admitted(quota, at_s, at_s + 0.5) for at_s in (0, 0.5, 1, 1.5, 2)] == [10, 0, 10, 0, 10]
    longer = Quota(SimulatorConfig(requests_per_minute=600, refill="window", refill_window_s=5))
    assert [admitted(longer, at_s, at_s + 2.5) for at_s in (0, 2.5, 5)] == [50, 0, 50]


async def test_a_storm_refuses_every_call_and_takes_nothing_from_the_quota() -> None:
    clock = Clock()
    config = SimulatorConfig(
        requests_per_minute=3, burst_s=60, spells=(Spell("throttle", at_s=10, for_s=60),)
    )
    async with simulate(config, clock=clock) as simulator, connect(simulator) as client:
        before = await statuses(client, 1)
        clock.now_s += 10
        storm = await statuses(client, 5)
        clock.now_s += 60
        after = await statuses(client, 4)
        seen = simulator.statistics()

    assert (before, storm, after) == ([200], [429] * 5, [200, 200, 200, 429])
    assert (seen.by_spell, seen.by_fault) == ({"throttle": 5}, {})
    (quota,) = seen.quotas.values()
    assert (quota.admitted, quota.refused_requests) == (4, 1)


async def test_a_refusal_at_random_takes_nothing_from_the_quota_and_is_counted_apart() -> None:
    config = SimulatorConfig(
        requests_per_minute=20, burst_s=60, throttle_rate=0.5, latency_median_s=0
    )
    async with simulate(config, clock=lambda: 0.0) as simulator, connect(simulator) as client:
        found = await statuses(client, 100)
        seen = simulator.statistics()

    (quota,) = seen.quotas.values()
    at_random, by_quota = seen.by_fault["throttle"], quota.refused_requests
    assert quota.admitted == found.count(200) == 20
    assert at_random == pytest.approx(50, abs=15)
    assert at_random + by_quota == found.count(429) == 80
    assert by_quota > 0
    assert seen.by_spell == {}


def test_refusals_at_random_are_as_many_whether_or_not_the_quota_binds() -> None:
    spells = (Spell("tenant", value=0.9), Spell("slow", at_s=5, value=3))
    calm = Chance(SimulatorConfig(throttle_rate=0.05))
    rough = Chance(SimulatorConfig(throttle_rate=0.05, requests_per_minute=1, spells=spells))

    faults = [calm.draw(at_s).fault for at_s in range(500)]
    assert faults == [rough.draw(at_s).fault for at_s in range(500)]
    assert "throttle" in faults


async def test_an_outage_of_either_kind_ends() -> None:
    clock = Clock()
    config = SimulatorConfig(spells=(Spell("unavailable", for_s=10), Spell("reset", 10, 10)))
    async with simulate(config, clock=clock) as simulator:
        async with connect(simulator) as client:
            assert await statuses(client, 2) == [503, 503]
            clock.now_s += 10
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await statuses(client, 1)
        clock.now_s += 10
        async with connect(simulator) as client:
            assert await statuses(client, 2) == [200, 200]


def test_a_part_of_the_calls_meets_a_spell_and_the_others_their_own_fate() -> None:
    spell = Spell("unavailable", at_s=10, value=0.4)
    chance = Chance(SimulatorConfig(throttle_rate=0.1, spells=(spell,)))
    before = [chance.draw(0) for _ in range(5_000)]
    during = [chance.draw(10) for _ in range(20_000)]

    assert not any(draw.in_spell for draw in before)
    in_spell = [draw.fault for draw in during if draw.in_spell]
    assert set(in_spell) == {"unavailable"}
    assert len(in_spell) / 20_000 == pytest.approx(0.4, abs=0.02)
    others = [draw.fault for draw in during if not draw.in_spell]
    assert others.count("throttle") / len(others) == pytest.approx(0.1, abs=0.01)


def test_a_script_comes_before_a_spell() -> None:
    chance = Chance(SimulatorConfig(faults=("reset",), spells=(Spell("throttle"),)))

    first, second = chance.draw(0), chance.draw(0)
    assert (first.fault, first.in_spell) == ("reset", False)
    assert (second.fault, second.in_spell) == ("throttle", True)


def test_a_slow_spell_changes_the_latency_and_nothing_else() -> None:
    usual = SimulatorConfig(latency_median_s=0.3, latency_sigma=0.2, throttle_rate=0.1)
    slow = SimulatorConfig(
        latency_median_s=0.3,
        latency_sigma=0.2,
        throttle_rate=0.1,
        spells=(Spell("slow", at_s=50, for_s=50, value=6),),
    )
    chance, again = Chance(usual), Chance(slow)
    pairs = [(chance.draw(at_s), again.draw(at_s)) for at_s in range(150)]

    factors = [slowed.latency_s / draw.latency_s for draw, slowed in pairs]
    assert factors == pytest.approx([1] * 50 + [20] * 50 + [1] * 50)
    assert all(draw.fault == slowed.fault for draw, slowed in pairs)


async def test_calls_that_arrive_are_counted_also_when_they_are_refused() -> None:
    clock = Clock()
    config = SimulatorConfig(requests_per_minute=2, burst_s=60)
    async with simulate(config, clock=clock) as simulator, connect(simulator) as client:
        await statuses(client, 5)
        clock.now_s += 30
        await statuses(client, 1)
        clock.now_s += 50
        await statuses(client, 1)
        seen = simulator.statistics()

    assert (seen.worst_window_calls, seen.worst_window_requests) == (6, 3)


async def test_a_reset_begins_the_spells_anew() -> None:
    clock = Clock()
    config = SimulatorConfig(spells=(Spell("throttle", for_s=10),))
    async with simulate(config, clock=clock) as simulator, connect(simulator) as client:
        found = await statuses(client, 1)
        clock.now_s += 100
        found += await statuses(client, 1)
        simulator.reset()
        clock.now_s += 100
        found += await statuses(client, 1)

    assert found == [429, 200, 429]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"spells": (Spell("tornado"),)}, "tornado: kind is unknown"),  # type: ignore[arg-type]
        ({"spells": (Spell("throttle", at_s=-1),)}, "at_s is -1"),
        ({"spells": (Spell("throttle", for_s=0),)}, "for_s is 0"),
        ({"spells": (Spell("throttle", for_s=9, every_s=8),)}, "every_s is 8, use for_s"),
        ({"spells": (Spell("throttle", every_s=8),)}, "every_s is 8"),
        ({"spells": (Spell("throttle", value=1.1),)}, "value is 1.1"),
        ({"spells": (Spell("tenant"),)}, "value is 1.0, use a share of the quota"),
        ({"spells": (Spell("slow", value=0),)}, "value is 0, use a latency"),
        ({"refill_window_s": 0}, "refill_window_s is 0"),
        ({"refill_window_s": 61}, "refill_window_s is 61"),
        ({"refill": "window", "requests_per_minute": 30}, "too short for one of 30 requests"),
    ],
)
def test_a_spell_or_window_without_sense_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        SimulatorConfig(**fields)
