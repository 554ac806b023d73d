"""A gate whose tokens come from outside, as from a lease of a shared quota."""

import asyncio
from collections.abc import Mapping

import pytest

from judge_service.flow import Request
from judge_service.flow.admission.bucket import Limit
from judge_service.testing import START_S, run_virtual
from tests.flow.gates import new_gate


class Leased:
    """A gate whose units are leased, and what was asked for."""

    def __init__(self, capacity: int = 10) -> None:
        self.asked = 0
        self.gate = new_gate(
            {"requests": Limit(600), "tokens": Limit(6000)}, reserve=lambda size: (1, size)
        )
        self.gate.on_need = self.ask
        self.gate.set_rates({"requests": 0, "tokens": 0})
        self.gate.drop()
        self.capacity = {"requests": capacity, "tokens": 10 * capacity}

    def ask(self) -> None:
        self.asked += 1

    def add(self, requests: int, tokens: int) -> None:
        self.gate.add({"requests": requests, "tokens": tokens}, self.capacity)

    def level(self) -> Mapping[str, float]:
        return self.gate.statistics().level

    def start(self, *sizes: int) -> list[asyncio.Task[None]]:
        return [asyncio.create_task(self.gate(Request(size), answer)) for size in sizes]


async def answer(request: Request[int]) -> None:
    pass


async def moment() -> None:
    await asyncio.sleep(0.001)


def test_without_a_rate_only_what_is_added_goes() -> None:
    async def scenario() -> None:
        leased = Leased()
        tasks = leased.start(20, 20, 20)
        await asyncio.sleep(3600)
        assert leased.gate.statistics().waiting == 3
        assert leased.gate.backlog() == {"requests": 3, "tokens": 60}
        leased.add(5, 45)
        await moment()
        assert [task.done() for task in tasks] == [True, True, False]
        assert leased.gate.backlog() == {"requests": 0, "tokens": 15}
        leased.add(0, 15)
        await asyncio.gather(*tasks)
        assert leased.level() == {"requests": 2, "tokens": 0}
        assert leased.gate._alarm.is_set is False

    run_virtual(scenario())


def test_it_asks_once_when_somebody_waits_and_again_after_too_little_came() -> None:
    async def scenario() -> None:
        leased = Leased()
        tasks = leased.start(20, 20)
        await moment()
        assert leased.asked == 1
        leased.add(1, 20)
        await moment()
        assert leased.asked == 2
        leased.add(10, 100)
        await asyncio.gather(*tasks)
        assert leased.asked == 2

    run_virtual(scenario())


def test_it_asks_before_the_last_unit_is_gone() -> None:
    async def scenario() -> None:
        leased = Leased()
        leased.add(10, 100)
        await leased.gate(Request(50), answer)
        assert leased.asked == 0
        await leased.gate(Request(1), answer)
        assert leased.asked == 1
        await leased.gate(Request(1), answer)
        assert leased.asked == 1

    run_virtual(scenario())


def test_with_rates_nobody_is_asked() -> None:
    async def scenario() -> None:
        leased = Leased()
        leased.gate.set_rates({"requests": 600, "tokens": 6000})
        await asyncio.gather(*leased.start(100, 100, 100))
        assert leased.asked == 0

    run_virtual(scenario())


def test_more_than_the_capacity_is_lost_and_dear_calls_leave_a_debt() -> None:
    async def scenario() -> None:
        leased = Leased()
        leased.add(99, 999)
        assert leased.level() == {"requests": 10, "tokens": 100}
        await leased.gate(Request(170), answer)
        assert leased.level() == {"requests": 9, "tokens": -70}
        (task,) = leased.start(20)
        await moment()
        assert leased.gate.backlog() == {"requests": 0, "tokens": 90}
        leased.add(0, 90)
        await task

    run_virtual(scenario())


def test_dropping_forgets_what_was_leased_but_no_debt() -> None:
    async def scenario() -> None:
        leased = Leased()
        leased.add(10, 100)
        await leased.gate(Request(170), answer)
        leased.gate.drop()
        assert leased.level() == {"requests": 0, "tokens": -70}

    run_virtual(scenario())


def test_a_rate_given_back_lets_the_queue_go_on_at_once() -> None:
    async def scenario() -> None:
        leased = Leased()
        tasks = leased.start(10, 10)
        await asyncio.sleep(5)
        leased.gate.set_rates({"requests": 60, "tokens": 60_000})
        assert leased.gate.statistics().effective_per_minute == {"requests": 60, "tokens": 60_000}
        await asyncio.gather(*tasks)
        assert asyncio.get_running_loop().time() - START_S == pytest.approx(6.5, abs=0.01)

    run_virtual(scenario())


def test_a_higher_rate_brings_the_next_turn_forward() -> None:
    async def scenario() -> None:
        leased = Leased()
        leased.gate.set_rates({"requests": 0.6, "tokens": 6000})
        tasks = leased.start(1)
        await asyncio.sleep(1)
        leased.gate.set_rates({"requests": 600})
        await asyncio.gather(*tasks)
        assert asyncio.get_running_loop().time() - START_S < 1.2

    run_virtual(scenario())


def test_a_call_with_a_deadline_is_not_refused_while_nobody_can_tell() -> None:
    async def scenario() -> None:
        leased = Leased()
        task = asyncio.create_task(leased.gate(Request(1, START_S + 1), answer))
        await moment()
        assert not task.done()
        leased.add(1, 1)
        await task
        assert leased.gate.statistics().refused == 0

    run_virtual(scenario())
