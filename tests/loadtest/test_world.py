"""`loadtest/world.py`: its double counts as the simulator does, and its figures say what happened."""

import asyncio
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.errors import Throttled, Unavailable
from judge_service.flow import Request
from judge_service.simulator import SimulatorConfig, Spell
from judge_service.testing import run_virtual
from judge_service.values import Message, Prompt, Question

Script = Callable[[str], ModuleType]


def reading(at_s: float, **counts: int) -> Any:
    fields = ("sent", "answered", "accepted", "refused_by_quota", "refused_at_random")
    named = {name: counts.get(name, 0) for name in (*fields, "refused_in_storm", "worst_sent")}
    return {"at_s": at_s, **named}


def run_of(script: Script, scenario: Any, readings: list[Any], seed: int = 0) -> Any:
    figures = script("world_figures")
    made = [figures.Reading(**one) for one in readings]
    return figures.Run(scenario, seed, made, 0)


def scenario_of(script: Script, **fields: Any) -> Any:
    return script("scenario").Scenario(**{"name": "any", "per_minute": 600, **fields})


def figure(script: Script, run: Any) -> dict[str, Any]:
    first: dict[str, Any] = script("world_figures").figures_of([run])[0]
    return first


def test_goodput_is_measured_from_the_sixth_second_on_and_of_what_is_not_refused_at_random(
    script: Script,
) -> None:
    scenario = scenario_of(script, asks="goodput", refused_share=0.1)
    readings = [reading(0), reading(6, answered=30), reading(16, answered=120)]

    found = figure(script, run_of(script, scenario, readings))
    assert (found["measured"], found["met"]) == (100, True)


def test_a_tenants_part_of_the_quota_is_not_ours_to_use(script: Script) -> None:
    spell = Spell("tenant", at_s=16, value=0.7)
    scenario = scenario_of(script, asks="tenant", spells=(spell,))
    readings = [reading(6, sent=60, accepted=60), reading(26, sent=280, accepted=190)]
    readings[1]["refused_by_quota"] = 11

    used, refused = script("world_figures").figures_of([run_of(script, scenario, readings)])
    assert (used["measured"], refused["measured"]) == (100, 5)


def test_the_worst_run_counts_and_says_how_to_replay_it(
    script: Script, capsys: pytest.CaptureFixture[str]
) -> None:
    scenario = scenario_of(script, asks="sends", is_enforced=False)
    runs = [
        run_of(script, scenario, [reading(0, worst_sent=sent)], seed)
        for seed, sent in ((16, 600), (17, 900), (18, 606))
    ]

    (found,) = script("world_figures").figures_of(runs)
    assert (found["measured"], found["met"]) == (50, False)
    assert "--only '^any$' --seed 17" in capsys.readouterr().out


def test_a_storm_is_over_when_most_of_the_quota_is_used_again(script: Script) -> None:
    scenario = scenario_of(script, asks="storm", spells=(Spell("throttle", at_s=5, for_s=10),))
    seconds = range(36)
    accepted = [10 * min(second, 5) + 10 * max(second - 19, 0) for second in seconds]
    readings = [
        reading(at_s, accepted=calls, refused_in_storm=5)
        for at_s, calls in zip(seconds, accepted, strict=True)
    ]

    sent, recovered, used = script("world_figures").figures_of([run_of(script, scenario, readings)])
    assert (sent["measured"], recovered["measured"], used["measured"]) == (0.5, 4, 100)


def test_every_scenario_has_a_name_of_its_own_and_settings_that_hold(script: Script) -> None:
    scenarios = script("scenario")
    all_of_them = [*scenarios.on_sockets(), *scenarios.in_virtual_time()]
    runs = {(one.name, one.seed) for one in all_of_them}

    assert len(runs) == len(all_of_them)
    for one in all_of_them:
        assert one.simulator(one.seed).spells == one.spells
        told = one.settings("http://none").limits.requests_per_minute
        assert told == one.per_minute * one.configured_factor


def test_the_double_draws_and_counts_like_the_simulator(script: Script) -> None:
    config = SimulatorConfig(
        requests_per_minute=60,
        burst_s=10,
        throttle_rate=0.2,
        reset_rate=0.2,
        spells=(Spell("throttle", at_s=50, for_s=10),),
    )

    judge = script("world_judge").WorldJudge(config)

    async def scenario() -> Any:
        question = Question(criteria=(), task="", response="")
        prompt = Prompt(question=question, messages=(Message("user", "How similar?"),))
        ended: list[Any] = []
        for _ in range(100):
            try:
                ended.append((await judge(Request(prompt))).text)
            except (Throttled, Unavailable) as error:
                ended.append(type(error).__name__)
            await asyncio.sleep(0.6)
        return judge.read(), ended

    seen, ended = run_virtual(scenario())
    (quota,) = seen.quotas.values()
    assert seen.calls == seen.worst_window_calls == 100
    assert 5 < ended.count("Unavailable") <= seen.by_fault["reset"]  # some met the quota first
    assert ended.count("0.75") == seen.answered == quota.admitted - ended.count("Unavailable")
    assert seen.by_spell == {"throttle": 16}
    refused = quota.refused_requests + seen.by_fault["throttle"] + 16
    assert ended.count("Throttled") == refused
    assert quota.refused_requests > 0


@pytest.mark.parametrize(
    ("fields", "least", "most"), [({}, 99, 101), ({"configured_factor": 0.5}, 49, 51)]
)
def test_a_quota_that_binds_is_seen_to_be_used(
    script: Script, fields: dict[str, Any], least: float, most: float
) -> None:
    scenario = scenario_of(script, asks="goodput", seconds=16, **fields)
    world = script("world")

    run = world.run_one(world.Task(scenario, 0, is_virtual=True))
    assert least <= run.used_percent("answered", 6) <= most
    assert run.unscored == 0
    assert run.last.worst_sent == run.last.sent


SCHEDULES = (
    "600_a_minute_10_slots_slow_20_s_for_60_s",
    "600_a_minute_10_slots_slow_2_s_for_20_s",
    "2000_a_minute_64_slots_slow_10_s_for_30_s",
    "2000_a_minute_256_slots_slow_15_s_for_30_s",
    "2000_a_minute_256_slots_slow_30_s_for_30_s",
)


@pytest.mark.parametrize("name", SCHEDULES)
def test_what_is_sent_after_a_slow_spell_stays_within_the_quota(script: Script, name: str) -> None:
    """The schedules at which calls that had taken tokens and waited for slots left all at once."""
    (found,) = (one for one in script("scenario").slow_spells() if one.name == f"sends_{name}")
    (spell,) = found.spells
    ends_s = 5 + spell.for_s + spell.value  # the last slow call
    shorter = replace(
        found,
        spells=(replace(spell, at_s=5),),
        waiting=found.per_minute,
        seconds=round(ends_s) + 62,
    )
    world = script("world")

    run = world.run_one(world.Task(shorter, 0, is_virtual=True))
    assert run.last.worst_sent <= 1.01 * found.per_minute
    assert run.used_percent("sent", ends_s) >= 98
