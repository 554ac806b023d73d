import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge_service.flow.admission.concurrency import Concurrency, ConcurrencyStatistics

from judge_service.flow import Request
from judge_service.testing import run_virtual


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


def enter(layer: Concurrency, room: Room, count: int) -> list[asyncio.Task[None]]:
    return [asyncio.create_task(layer(Request(number), room)) for number in range(count)]


def test_no_more_than_the_limit_and_first_come_first_served() -> None:
    async def scenario() -> None:
        layer, room = Concurrency(max_in_flight=2), Room()
        tasks = enter(layer, room, 7)
        await asyncio.sleep(0.5)
        assert layer.statistics() == ConcurrencyStatistics(in_flight=2, waiting=5, limit=2)
        await asyncio.gather(*tasks)
        assert room.order == list(range(7))
        assert room.most == 2
        assert layer.statistics() == ConcurrencyStatistics(in_flight=0, waiting=0, limit=2)

    run_virtual(scenario())
    assert repr(Concurrency(max_in_flight=3)) == "Concurrency(max_in_flight=3)"


def test_a_newcomer_does_not_pass_those_who_wait() -> None:
    async def scenario() -> list[int]:
        layer, room = Concurrency(max_in_flight=1), Room()
        tasks = enter(layer, room, 2)
        loop = asyncio.get_running_loop()
        late: list[asyncio.Task[None]] = []
        loop.call_later(1, lambda: late.append(asyncio.create_task(layer(Request(9), room))))
        await asyncio.gather(*tasks)
        await asyncio.gather(*late)
        return room.order

    assert run_virtual(scenario()) == [0, 1, 9]


def test_a_failed_call_gives_its_slot_back() -> None:
    async def fails(request: Request[int]) -> None:
        raise ZeroDivisionError

    async def scenario() -> int:
        layer = Concurrency(max_in_flight=1)
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await layer(Request(0), fails)
        return layer.statistics().in_flight

    assert run_virtual(scenario()) == 0


def test_the_limit_can_be_raised_and_lowered_at_run_time() -> None:
    async def scenario() -> None:
        layer, room = Concurrency(max_in_flight=1), Room()
        tasks = enter(layer, room, 9)
        await asyncio.sleep(0.5)
        layer.limit = 4
        await asyncio.sleep(0.1)
        assert room.inside == 4
        layer.limit = 2
        assert layer.limit == 2
        await asyncio.sleep(1)
        assert room.inside == 2
        await asyncio.gather(*tasks)

    run_virtual(scenario())


def test_a_waiter_cancelled_in_the_moment_it_was_woken_passes_the_slot_on() -> None:
    async def scenario() -> list[int]:
        layer, room = Concurrency(max_in_flight=1), Room()
        first, second, third = enter(layer, room, 3)
        await asyncio.sleep(0.5)
        layer.limit = 2  # hands a slot to the second, whose task has not run yet
        second.cancel()
        await asyncio.gather(first, third)
        assert second.cancelled()
        assert layer.statistics().in_flight == 0
        return room.order

    assert run_virtual(scenario()) == [0, 2]


def test_a_waiter_cancelled_just_before_its_turn_is_passed_over() -> None:
    async def scenario() -> list[int]:
        layer, room = Concurrency(max_in_flight=1), Room()
        first, second, third = enter(layer, room, 3)
        await asyncio.sleep(0.5)
        second.cancel()  # its future is cancelled, its task has not run yet
        first.cancel()
        await third
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
        layer, room = Concurrency(max_in_flight=limit), Room()
        tasks = enter(layer, room, len(cancels_s))
        for task, after_s in zip(tasks, cancels_s, strict=True):
            if after_s is not None:
                asyncio.get_running_loop().call_later(after_s, task.cancel)
        await asyncio.gather(*tasks, return_exceptions=True)
        assert room.order == sorted(room.order)
        assert room.most <= limit
        assert layer.statistics() == ConcurrencyStatistics(in_flight=0, waiting=0, limit=limit)

    run_virtual(scenario())
