"""The waiting primitive: no value is lost, and none goes to a caller that has gone."""

import asyncio

import pytest

from judge_service.parking import ParkingLot, Turn
from judge_service.testing import run_virtual


def park(lot: ParkingLot[str], back: list[str]) -> "asyncio.Task[str]":
    return asyncio.ensure_future(lot.park(back.append))


def test_callers_are_served_in_the_order_of_arrival() -> None:
    async def scenario() -> list[str]:
        lot: ParkingLot[str] = ParkingLot()
        tasks = [park(lot, []) for _ in range(3)]
        await asyncio.sleep(0)
        assert [lot.give(value) for value in "abcd"] == [True, True, True, False]
        return [await task for task in tasks]

    assert run_virtual(scenario()) == ["a", "b", "c"]


def test_a_caller_cancelled_before_its_turn_is_passed_over() -> None:
    async def scenario() -> None:
        back: list[str] = []
        lot: ParkingLot[str] = ParkingLot()
        first, second = park(lot, back), park(lot, back)
        await asyncio.sleep(0)
        first.cancel()
        assert lot.give("a")  # the future of the first is cancelled, its task has not run yet
        assert await second == "a"
        assert back == []
        assert len(lot) == 0

    run_virtual(scenario())


def test_what_comes_together_with_a_cancellation_is_given_back() -> None:
    async def scenario() -> None:
        back: list[str] = []
        lot: ParkingLot[str] = ParkingLot()
        task = park(lot, back)
        await asyncio.sleep(0)
        assert lot.give("a")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert back == ["a"]

    run_virtual(scenario())


def test_a_refusal_together_with_a_cancellation_gives_nothing_back() -> None:
    async def scenario() -> None:
        back: list[str] = []
        lot: ParkingLot[str] = ParkingLot()
        task = park(lot, back)
        await asyncio.sleep(0)
        lot.refuse_all(ValueError)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert back == []

    run_virtual(scenario())


def test_refused_callers_each_get_an_error_of_their_own() -> None:
    async def scenario() -> list[BaseException]:
        lot: ParkingLot[str] = ParkingLot()
        tasks = [park(lot, []) for _ in range(2)]
        await asyncio.sleep(0)
        lot.refuse_all(ValueError)
        return [
            one
            for one in await asyncio.gather(*tasks, return_exceptions=True)
            if not isinstance(one, str)
        ]

    first, second = run_virtual(scenario())
    assert isinstance(first, ValueError)
    assert first is not second


def test_a_lot_that_nobody_gives_to_does_not_grow() -> None:
    async def scenario() -> int:
        lot: ParkingLot[str] = ParkingLot()
        tasks = [park(lot, []) for _ in range(100)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        return len(lot)

    assert run_virtual(scenario()) == 0


def test_a_turn_ends_once() -> None:
    async def scenario() -> None:
        turn: Turn[str] = Turn()
        assert turn.give("a")
        assert not turn.give("b")
        assert not turn.refuse(ValueError())
        assert turn.is_over

    run_virtual(scenario())
