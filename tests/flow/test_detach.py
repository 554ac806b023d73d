import asyncio
import gc
from typing import Literal

import pytest
from judge_service.flow.admission.concurrency import Concurrency

from judge_service.errors import Unavailable
from judge_service.flow import Request, stack
from judge_service.flow.detach import Detach, DetachStatistics
from judge_service.testing import START_S, run_virtual


class Wire:
    """Sends after a second, answers after two, and cannot be called back once it has sent."""

    def __init__(self, end: Literal["answer", "error"] = "answer") -> None:
        self.end = end
        self.events: list[str] = []
        self.envelopes: list[Request[str]] = []

    async def __call__(self, request: Request[str]) -> str:
        self.envelopes.append(request)
        try:
            await asyncio.sleep(1)
            request.sent_at = asyncio.get_running_loop().time()
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        self.events.append(self.end)
        if self.end == "error":
            raise Unavailable("reset")
        return "answer"


def start(layer: Detach, wire: Wire) -> asyncio.Task[str]:
    return asyncio.create_task(layer(Request("q", lane="bulk"), wire))


async def cancelled_after(task: asyncio.Task[str], delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


def test_each_attempt_has_an_envelope_of_its_own() -> None:
    async def scenario() -> None:
        layer, wire, request = Detach(), Wire(), Request("q", 5000.0, "bulk")
        assert [await layer(request, wire), await layer(request, wire)] == ["answer"] * 2
        assert request.sent_at == 0
        assert wire.envelopes[0] is not wire.envelopes[1]
        assert {(e.body, e.deadline, e.lane) for e in wire.envelopes} == {("q", 5000.0, "bulk")}

    run_virtual(scenario())


def test_an_error_goes_to_the_caller() -> None:
    with pytest.raises(Unavailable):
        run_virtual(Detach()(Request("q"), Wire("error")))


def test_before_it_is_sent_the_attempt_ends_with_its_caller() -> None:
    async def scenario() -> None:
        layer, wire, slots = Detach(), Wire(), Concurrency(max_in_flight=1)
        task = asyncio.create_task(layer(Request("q"), stack(wire, slots)))
        await cancelled_after(task, 0.5)
        assert wire.events == ["cancelled"]
        assert layer.statistics() == DetachStatistics(in_flight=0, abandoned=0)
        assert slots.statistics().in_flight == 0

    run_virtual(scenario())


@pytest.mark.parametrize("end", ["answer", "error"])
def test_once_sent_the_caller_leaves_and_the_attempt_goes_on(
    end: Literal["answer", "error"],
) -> None:
    async def scenario() -> None:
        layer, wire, slots = Detach(), Wire(end), Concurrency(max_in_flight=1)
        task = asyncio.create_task(layer(Request("q"), stack(wire, slots)))
        await cancelled_after(task, 1.5)
        assert layer.statistics() == DetachStatistics(in_flight=1, abandoned=1)
        assert slots.statistics().in_flight == 1
        await asyncio.sleep(1)
        assert wire.events == [end]
        assert layer.statistics() == DetachStatistics(in_flight=0, abandoned=0)
        assert slots.statistics().in_flight == 0
        del task
        gc.collect()

    run_virtual(scenario())  # fails as Unhandled if the attempt's error was never retrieved


@pytest.mark.parametrize("delay_s", [0.0, 1.0, 2.0])
def test_cancelled_in_the_moment_of_start_sending_or_end_it_leaks_nothing(delay_s: float) -> None:
    async def scenario() -> None:
        layer, wire = Detach(), Wire()
        task = start(layer, wire)
        asyncio.get_running_loop().call_later(delay_s, task.cancel)
        await asyncio.wait((task,))
        await layer.aclose(grace_s=5)
        assert layer.statistics() == DetachStatistics(in_flight=0, abandoned=0)
        assert len(asyncio.all_tasks()) == 1

    run_virtual(scenario())


async def slow_to_end(request: Request[str]) -> str:
    """Never sends, and takes five seconds to clean up."""
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(5)
    return ""


def test_a_caller_that_leaves_before_sending_waits_for_the_attempts_end() -> None:
    async def scenario() -> float:
        task = asyncio.create_task(Detach()(Request("q"), slow_to_end))
        await cancelled_after(task, 1)
        return asyncio.get_running_loop().time() - START_S

    assert run_virtual(scenario()) == 6


def test_a_second_cancellation_leaves_an_attempt_that_is_slow_to_end() -> None:
    async def scenario() -> None:
        layer = Detach()
        task = asyncio.create_task(layer(Request("q"), slow_to_end))
        for _ in range(2):
            await asyncio.sleep(0.5)
            task.cancel()
        await asyncio.wait((task,))
        assert layer.statistics() == DetachStatistics(in_flight=1, abandoned=1)
        await layer.aclose(grace_s=10)
        assert layer.statistics() == DetachStatistics(in_flight=0, abandoned=0)

    run_virtual(scenario())


@pytest.mark.parametrize(("grace_s", "event"), [(5.0, "answer"), (0.1, "cancelled")])
def test_closing_waits_for_the_abandoned_and_then_cancels_them(grace_s: float, event: str) -> None:
    async def scenario() -> list[str]:
        layer, wire = Detach(), Wire()
        await cancelled_after(start(layer, wire), 1.5)
        await layer.aclose(grace_s=grace_s)
        assert layer.statistics().in_flight == 0
        return wire.events

    assert run_virtual(scenario()) == [event]


def test_closing_that_is_cancelled_cancels_the_abandoned() -> None:
    async def scenario() -> list[str]:
        layer, wire = Detach(), Wire()
        await cancelled_after(start(layer, wire), 1.5)
        closing = asyncio.create_task(layer.aclose(grace_s=60))
        await asyncio.sleep(0.1)
        closing.cancel()
        await asyncio.wait((closing,))
        await asyncio.sleep(0)
        return wire.events

    assert run_virtual(scenario()) == ["cancelled"]


def test_its_line_is_short() -> None:
    assert repr(Detach()) == "Detach()"


def test_what_nobody_waits_for_can_be_ended_at_once() -> None:
    async def scenario() -> None:
        layer, wire = Detach(), Wire()
        abandoned, attended = start(layer, wire), start(layer, other := Wire())
        await cancelled_after(abandoned, 1.5)

        await layer.abandon()

        assert wire.events == ["cancelled"]
        assert layer.statistics() == DetachStatistics(in_flight=1, abandoned=0)
        assert await attended == "answer"
        assert other.events == ["answer"]

    run_virtual(scenario())
