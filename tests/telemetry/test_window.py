import json

import msgspec
import pytest

from judge_service.telemetry.counters import MAX_NAMES, Counters, total
from judge_service.telemetry.events import (
    BreakerChanged,
    CacheLooked,
    CallEnded,
    FailedOver,
    Hedged,
    Retried,
)
from judge_service.telemetry.state import QuotaState, ServiceState, TargetState
from judge_service.telemetry.window import EXTREMES, SLOT_S, SLOTS, Snapshot, Window
from judge_service.values import Usage
from tests.telemetry.conftest import graded


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_790_000_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def read(window: Window) -> Snapshot:
    return msgspec.json.decode(window.snapshot(7), type=Snapshot)


def call(outcome: str = "ok", *, target: str = "t", throttled: bool = False) -> CallEnded:
    return CallEnded(
        target=target, outcome=outcome, queue_s=0.02, backend_s=0.3, throttled=throttled
    )


def test_everything_that_happens_is_counted_once(clock: Clock) -> None:
    window = Window(now=clock)
    for event in (
        CacheLooked(hit=False),
        CacheLooked(hit=True),
        call(),
        call("throttled", throttled=True),
        Retried(attempt=1, wait_s=0.1, reason="throttled", throttled=True),
        FailedOver(position=1, reason="unavailable"),
        Hedged(after_s=0.3, won=True),
        BreakerChanged(target="t", state="open"),
        graded("a", 0.5, parts={"helpful": 1.0}, usage=Usage(90, 5, 10, 0, 1), cost_usd=0.5),
        graded("b", None),
    ):
        window(event)

    counters = read(window).counters
    assert counters.cache == {"miss": 1, "hit": 1}
    assert counters.calls["t"].outcomes == {"ok": 1, "throttled": 1}
    assert counters.calls["t"].throttled == 1
    assert sum(counters.calls["t"].backend_s.counts) == 2
    assert counters.calls["t"].queue_s.total == pytest.approx(0.04)
    assert counters.retries == {"throttled": 1}
    assert counters.failovers == {"unavailable": 1}
    assert counters.hedges == {"won": 1}
    assert counters.breaker == {"open": 1}
    assert counters.samples == {"scored": 1, "throttled": 1}
    assert counters.rewards.total == 0.5
    assert counters.criteria["helpful"].counts[10] == 1
    assert (counters.input_tokens, counters.output_tokens) == (200, 10)
    assert (counters.cost_usd, counters.priced) == (0.5, 1)


def test_an_exact_zero_is_a_bucket_of_its_own(clock: Clock) -> None:
    window = Window(now=clock)
    for score in (0.0, 0.0, 0.001, 0.1, 0.95, 1.0):
        window(graded("a", score))

    assert read(window).counters.rewards.counts == [2, 2, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0]


def test_memory_is_bounded_in_time_while_the_sum_keeps_everything(clock: Clock) -> None:
    window = Window(now=clock)
    for number in range(3 * SLOTS):
        window(graded(number))
        clock.now_s += SLOT_S

    seen = read(window)
    assert len(seen.slots) == SLOTS
    assert seen.counters.samples == {"scored": 3 * SLOTS}
    assert [slot.number for slot in seen.slots] == list(
        range(seen.slots[0].number, seen.slots[0].number + SLOTS)
    )


@pytest.mark.parametrize("jump_s", [86_400, -86_400])
def test_a_clock_that_jumps_costs_old_slots_and_nothing_else(clock: Clock, jump_s: int) -> None:
    window = Window(now=clock)
    for _ in range(10):
        window(graded())
        clock.now_s += SLOT_S
    clock.now_s += jump_s
    window(graded())

    seen = read(window)
    assert seen.counters.samples == {"scored": 11}
    assert len(seen.slots) == 1


def test_names_are_bounded_over_the_life_of_the_process(clock: Clock) -> None:
    window = Window(now=clock)
    for number in range(500):
        window(graded(number, parts={f"criterion{number}": 0.5}))
        window(call(target=f"target{number}"))
        window(graded(number, None, reason=f"reason{number}"))
        clock.now_s += SLOT_S

    counters = read(window).counters
    assert len(counters.criteria) == len(counters.calls) == MAX_NAMES + 1
    assert sum(counters.criteria["other"].counts) == 500 - MAX_NAMES
    assert counters.samples == {"scored": 500, "other": 500}


def test_a_slot_remembers_its_slowest_and_its_lowest(clock: Clock) -> None:
    window = Window(now=clock)
    for number in range(20):
        window(graded(number, number / 20, duration_s=number))
    window(graded("none", None, duration_s=0))

    [slot] = read(window).slots
    assert [(one.value, one.id) for one in slot.slowest] == [(-19, "19"), (-18, "18"), (-17, "17")]
    assert [(one.value, one.id) for one in slot.lowest] == [(0.0, "0"), (0.05, "1"), (0.1, "2")]
    assert len(slot.slowest) == EXTREMES


def test_a_slot_notes_what_of_the_quota_was_spent_when_it_began(clock: Clock) -> None:
    window, spent = Window(now=clock), [10.0]

    def state() -> ServiceState:
        quota = QuotaState(resource="requests", per_minute=60.0, spent=spent[0])
        target = TargetState(
            target="t",
            breaker="closed",
            waiting_by_lane={},
            in_flight=0,
            slots=1,
            quota=(quota,),
        )
        return ServiceState(targets=(target,))

    window.watch(state)
    clock.now_s += SLOT_S
    spent[0] = 25.0
    window(graded())

    assert [slot.spent for slot in read(window).slots] == [
        {"t": {"requests": 10.0}},
        {"t": {"requests": 25.0}},
    ]


def test_tallies_add_up_and_stay_as_they_were(clock: Clock) -> None:
    one, other = Window(now=clock), Window(now=clock)
    one(graded("a", 0.5, parts={"x": 0.5}))
    other(graded("a", 0.5, parts={"y": 0.5}))
    other(call())
    first, second = read(one).counters, read(other).counters
    before = json.dumps(msgspec.to_builtins(first))

    both = total(first, second, Counters())

    assert both.samples == {"scored": 2}
    assert set(both.criteria) == {"x", "y"}
    assert both.calls["t"].outcomes == {"ok": 1}
    assert json.dumps(msgspec.to_builtins(first)) == before
