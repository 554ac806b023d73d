"""The virtual clock and the recording sink, which all other flow tests use."""

import asyncio
import time
from typing import cast

import pytest

from judge_service.telemetry.events import CacheLooked, Retried
from judge_service.testing import (
    DeadlockError,
    RecordingSink,
    UnhandledError,
    VirtualTimeLoop,
    run_virtual,
)


def test_a_day_of_sleep_takes_no_time() -> None:
    async def scenario() -> float:
        start = asyncio.get_running_loop().time()
        await asyncio.sleep(86_400 * 3)
        return asyncio.get_running_loop().time() - start

    before = time.perf_counter()
    assert run_virtual(scenario()) == pytest.approx(86_400 * 3)
    assert time.perf_counter() - before < 1


def test_timers_fire_in_order_and_work_comes_before_time() -> None:
    async def scenario() -> list[str]:
        seen: list[str] = []

        async def after(delay_s: float, name: str) -> None:
            await asyncio.sleep(delay_s)
            seen.append(name)

        await asyncio.gather(after(2, "b"), after(1, "a"), after(0, "now"))
        return seen

    assert run_virtual(scenario()) == ["now", "a", "b"]


def test_waiting_for_nothing_is_a_deadlock_that_names_the_task() -> None:
    async def forever() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(DeadlockError, match=r"waiting: .*bounded"):
        run_virtual(forever())


def test_a_timeout_is_counted_in_virtual_seconds() -> None:
    with pytest.raises(TimeoutError):
        run_virtual(asyncio.sleep(11), timeout_s=10)


def test_a_stall_moves_the_clock_while_nothing_runs() -> None:
    async def scenario() -> float:
        loop = cast("VirtualTimeLoop", asyncio.get_running_loop())
        start = loop.time()
        loop.stall(2.5)
        return loop.time() - start

    assert run_virtual(scenario()) == 2.5


def test_an_error_that_nobody_took_fails_the_scenario() -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(1)

    with pytest.raises(UnhandledError, match="ZeroDivisionError"):
        run_virtual(scenario())


def test_the_recording_sink_sorts_by_type() -> None:
    sink = RecordingSink()
    sink(CacheLooked(hit=True))
    sink(Retried(attempt=1, wait_s=0.5, reason="throttled", throttled=True))
    assert sink.of(CacheLooked) == [CacheLooked(hit=True)]
    assert repr(sink) == "RecordingSink(2 events)"
