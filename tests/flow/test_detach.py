"""Calls whose caller has gone, after `Coalesce` and `Hedge` have detached them."""

import asyncio
import gc
from typing import Literal

import pytest

from judge_service.errors import Unavailable
from judge_service.flow import Handler, Request, stack
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.detach import Detached, DetachedStatistics
from judge_service.testing import START_S, run_virtual
from tests.flow.gates import new_gate


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


NONE = DetachedStatistics(abandoned=0)
ONE = DetachedStatistics(abandoned=1)


def start(detached: Detached, handler: Handler[str, str]) -> asyncio.Task[str]:
    """Asks as the service does: the call is a flight of its own."""
    layer: Coalesce[str, str] = Coalesce(key=str, weight=lambda _: 1, detached=detached)
    return asyncio.create_task(layer(Request("q", lane="bulk"), handler))


async def cancelled_after(task: asyncio.Task[str], delay_s: float) -> None:
    await asyncio.sleep(delay_s)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()


def test_before_it_is_sent_the_call_ends_with_its_caller() -> None:
    async def scenario() -> None:
        detached, wire, gate = Detached(), Wire(), new_gate(max_in_flight=1)
        await cancelled_after(start(detached, stack(wire, gate)), 0.5)
        assert wire.events == ["cancelled"]
        assert detached.statistics() == NONE
        assert gate.statistics().in_flight == 0

    run_virtual(scenario())


@pytest.mark.parametrize("end", ["answer", "error"])
def test_once_sent_the_caller_leaves_and_the_call_goes_on(end: Literal["answer", "error"]) -> None:
    async def scenario() -> None:
        detached, wire, gate = Detached(), Wire(end), new_gate(max_in_flight=1)
        task = start(detached, stack(wire, gate))
        await cancelled_after(task, 1.5)
        assert wire.envelopes[0].is_abandoned
        assert detached.statistics() == ONE
        assert gate.statistics().in_flight == 1
        await asyncio.sleep(1)
        assert wire.events == [end]
        assert detached.statistics() == NONE
        assert gate.statistics().in_flight == 0
        del task
        gc.collect()

    run_virtual(scenario())  # fails as Unhandled if the call's error was never retrieved


@pytest.mark.parametrize("delay_s", [0.0, 1.0, 2.0])
def test_cancelled_in_the_moment_of_start_sending_or_end_it_leaks_nothing(delay_s: float) -> None:
    async def scenario() -> None:
        detached, wire = Detached(), Wire()
        task = start(detached, wire)
        asyncio.get_running_loop().call_later(delay_s, task.cancel)
        await asyncio.wait((task,))
        await detached.aclose(grace_s=5)
        assert detached.statistics() == NONE
        assert len(asyncio.all_tasks()) == 1

    run_virtual(scenario())


async def slow_to_end(_request: Request[str]) -> str:
    """Never sends, and takes five seconds to clean up."""
    try:
        await asyncio.sleep(10)
    finally:
        await asyncio.sleep(5)
    return ""


def test_a_caller_that_leaves_before_sending_waits_for_the_calls_end() -> None:
    async def scenario() -> float:
        await cancelled_after(start(Detached(), slow_to_end), 1)
        return asyncio.get_running_loop().time() - START_S

    assert run_virtual(scenario()) == 6


def test_a_second_cancellation_leaves_a_call_that_is_slow_to_end() -> None:
    async def scenario() -> None:
        detached = Detached()
        task = start(detached, slow_to_end)
        for _ in range(2):
            await asyncio.sleep(0.5)
            task.cancel()
        await asyncio.wait((task,))
        assert detached.statistics() == ONE
        await detached.aclose(grace_s=10)
        assert detached.statistics() == NONE

    run_virtual(scenario())


@pytest.mark.parametrize(("grace_s", "event"), [(5.0, "answer"), (0.1, "cancelled")])
def test_closing_waits_for_the_abandoned_and_then_cancels_them(grace_s: float, event: str) -> None:
    async def scenario() -> list[str]:
        detached, wire = Detached(), Wire()
        await cancelled_after(start(detached, wire), 1.5)
        await detached.aclose(grace_s=grace_s)
        assert detached.statistics() == NONE
        return wire.events

    assert run_virtual(scenario()) == [event]


def test_closing_that_is_cancelled_cancels_the_abandoned() -> None:
    async def scenario() -> list[str]:
        detached, wire = Detached(), Wire()
        await cancelled_after(start(detached, wire), 1.5)
        closing = asyncio.create_task(detached.aclose(grace_s=60))
        await asyncio.sleep(0.1)
        closing.cancel()
        await asyncio.wait((closing,))
        await asyncio.sleep(0)
        return wire.events

    assert run_virtual(scenario()) == ["cancelled"]


def test_what_has_no_caller_can_be_ended_at_once_and_stays_charged() -> None:
    async def scenario() -> None:
        detached, wire, gate = Detached(), Wire(), new_gate({"requests": Limit(600)})
        abandoned = start(detached, stack(wire, gate))
        attended = start(detached, other := Wire())
        await cancelled_after(abandoned, 1.5)

        await detached.abandon()

        assert wire.events == ["cancelled"]
        assert gate.statistics().charged == {"requests": 1}
        assert detached.statistics() == NONE
        assert await attended == "answer"
        assert other.events == ["answer"]

    run_virtual(scenario())


def test_its_line_is_short() -> None:
    assert repr(Detached()) == "Detached(0 under way)"
