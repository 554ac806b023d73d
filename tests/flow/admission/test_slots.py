import asyncio
from collections.abc import Sequence
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge_service.flow import Request
from judge_service.flow.admission.adaptive import AdaptiveLimit
from judge_service.flow.admission.gate import Gate
from judge_service.flow.admission.slots import Slots
from judge_service.testing import run_virtual
from tests.flow.gates import assert_nothing_held, new_gate


class Room:
    """Remembers who came in, and how many were in at once."""

    def __init__(self) -> None:
        self.order: list[int] = []
        self.inside = 0
        self.most = 0

    async def __call__(self, request: Request[int]) -> None:
        self.order.append(request.body)
        self.inside += 1
        self.most = max(self.most, self.inside)
        try:
            await asyncio.sleep(1)
        finally:
            self.inside -= 1


def enter(gate: Gate[int, None], room: Room, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(gate(Request(number), room)) for number in range(count)]


def test_a_refused_calls_slot_stays_taken_until_then() -> None:
    slots = Slots(max_in_flight=2)
    slots.take()
    slots.take()
    assert not slots.is_free(10.0)
    slots.hold(10.3)
    assert (slots.in_flight, slots.held, slots.changes_at_s()) == (1, 1, 10.3)
    assert not slots.is_free(10.2)
    assert slots.is_free(10.3)
    assert (slots.held, slots.changes_at_s()) == (0, inf)


def test_a_later_hold_does_not_end_before_an_earlier_one() -> None:
    slots = Slots(max_in_flight=9)
    for _ in range(2):
        slots.take()
    slots.hold(12.0)
    slots.hold(11.0)
    assert not [n for n in (11.0, 11.9) if slots.is_free(n) and slots.held != 2]
    assert slots.is_free(12.0)
    assert slots.held == 0


@pytest.mark.parametrize(("cap", "limit"), [(inf, 8), (9.0, 8), (3.9, 3), (0.2, 1)])
def test_a_cap_lowers_the_slots_but_one_is_left(cap: float, limit: int) -> None:
    slots = Slots(max_in_flight=8)
    slots.cap(cap)
    assert slots.limit == limit


def test_the_adaptive_limit_is_the_number_of_slots() -> None:
    slots = Slots(max_in_flight=8, adaptive=AdaptiveLimit(max_slots=8))
    assert slots.limit == 8
    for number in range(400):
        slots.in_flight = 8
        slots.answer(0.5 if number < 200 else 5.0, number / 10)
    assert slots.limit < 8
    assert repr(slots) == "Slots(adaptive, max_in_flight=8)"
    assert repr(Slots(max_in_flight=8)) == "Slots(fixed, max_in_flight=8)"


def test_no_more_than_the_limit_and_first_come_first_served() -> None:
    async def scenario() -> None:
        gate, room = new_gate(max_in_flight=2), Room()
        tasks = enter(gate, room, 7)
        await asyncio.sleep(0.5)
        seen = gate.statistics()
        assert (seen.in_flight, seen.waiting, seen.slots, seen.bound_by) == (2, 5, 2, "slots")
        await asyncio.gather(*tasks)
        assert room.order == list(range(7))
        assert room.most == 2
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    async def scenario() -> list[int]:
        gate, room = new_gate(max_in_flight=1), Room()
        tasks = enter(gate, room, 2)
        loop = asyncio.get_running_loop()
        late: list[asyncio.Task[None]] = []
        loop.call_later(1, lambda: late.append(asyncio.create_task(gate(Request(9), room))))
        await asyncio.gather(*tasks)
        await asyncio.gather(*late)
        return room.order

    assert run_virtual(scenario()) == [0, 1, 9]


def test_a_failed_call_gives_its_slot_back() -> None:
    async def fails(request: Request[int]) -> None:
        raise ZeroDivisionError

    async def scenario() -> int:
        gate = new_gate(max_in_flight=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await gate(Request(0), fails)
        assert_nothing_held(gate)
        return gate.statistics().in_flight

    assert run_virtual(scenario()) == 0


def test_a_cap_that_rises_and_falls_at_run_time_is_kept() -> None:
    async def scenario() -> None:
        gate, room = new_gate(max_in_flight=9), Room()
        gate._slots.cap(1)
        tasks = enter(gate, room, 9)
        await asyncio.sleep(0.5)
        gate._slots.cap(4)
        gate._let_in()
        await asyncio.sleep(0.1)
        assert room.inside == 4
        gate._slots.cap(2)
        await asyncio.sleep(1)
        assert room.inside == 2
        await asyncio.gather(*tasks)
        assert_nothing_held(gate)

    run_virtual(scenario())


def test_a_waiter_cancelled_in_the_moment_it_was_woken_passes_the_slot_on() -> None:
    async def scenario() -> list[int]:
        gate, room = new_gate(max_in_flight=2), Room()
        gate._slots.cap(1)
        first, second, third = enter(gate, room, 3)
        await asyncio.sleep(0.5)
        gate._slots.cap(2)
        gate._let_in()  # hands a slot to the second, whose task has not run yet
        second.cancel()
        await asyncio.gather(first, third)
        assert second.cancelled()
        assert_nothing_held(gate)
        return room.order

    assert run_virtual(scenario()) == [0, 2]


def test_a_waiter_cancelled_just_before_its_turn_is_passed_over() -> None:
    async def scenario() -> list[int]:
        gate, room = new_gate(max_in_flight=1), Room()
        first, second, third = enter(gate, room, 3)
        await asyncio.sleep(0.5)
        second.cancel()  # its future is cancelled, its task has not run yet
        first.cancel()
        await third
        assert_nothing_held(gate)
        return room.order

    assert run_virtual(scenario()) == [0, 2]


@settings(max_examples=60, deadline=None)
@given(
    cancels_s=st.lists(st.sampled_from([None, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0]), max_size=12),
    limit=st.integers(1, 4),
)
def test_whoever_is_cancelled_whenever_no_slot_is_lost(
    cancels_s: Sequence[float | None], limit: int
) -> None:
    async def scenario() -> None:
        gate, room = new_gate(max_in_flight=limit), Room()
        tasks = enter(gate, room, len(cancels_s))
        for task, after_s in zip(tasks, cancels_s, strict=True):
            if after_s is not None:
                asyncio.get_running_loop().call_later(after_s, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.order == sorted(room.order)
        assert room.most <= limit
        assert_nothing_held(gate)

    run_virtual(scenario())
