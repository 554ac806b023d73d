"""Programs that do not end do not starve those behind them."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from judge_service.verifiers.slots import BRIEF, FairSlots

LIMIT_S = 2.0
SCALE = 1 / 20
"""A test's second; the scenario of 64 answers takes 3 s instead of 55 s."""


def program(needs_s: float) -> Callable[[float], Awaitable[str]]:
    """A program that needs some seconds of `LIMIT_S`, and tells how it ended."""

    async def run(share: float) -> str:
        given_s = share * LIMIT_S
        await asyncio.sleep(min(needs_s, given_s) * SCALE)
        return "right" if needs_s <= given_s else "late"

    return run


def is_late(result: str) -> bool:
    return result == "late"


async def test_fifty_loops_and_fourteen_right_programs_all_end_within_55_s() -> None:
    slots = FairSlots(2)
    clock = asyncio.get_running_loop().time
    started = clock()
    ended: list[tuple[str, float]] = []

    async def one(needs_s: float) -> None:
        result = await slots.run(program(needs_s), is_late)
        ended.append((result, (clock() - started) / SCALE))

    await asyncio.gather(*(one(1e9) for _ in range(50)), *(one(0.05) for _ in range(14)))

    right = [at_s for result, at_s in ended if result == "right"]
    late = [at_s for result, at_s in ended if result == "late"]
    assert (len(right), len(late)) == (14, 50)
    assert max(right) < 12  # first come, first served: more than 50 s
    assert max(late) < 70  # 53 s; the sleeps of a busy machine are longer


async def test_a_program_has_its_whole_limit_when_no_other_waits_for_a_slot() -> None:
    shares: list[float] = []

    async def run(share: float) -> str:
        shares.append(share)
        await asyncio.sleep(0)
        return "late"

    await FairSlots(1).run(run, is_late)
    assert shares == [1.0]


async def test_a_program_that_is_late_runs_again_after_new_ones_with_its_whole_limit() -> None:
    slots, ran = FairSlots(1), list[tuple[str, float]]()

    def named(name: str, result: str) -> Callable[[float], Awaitable[str]]:
        async def run(share: float) -> str:
            ran.append((name, share))
            await asyncio.sleep(0.001)
            return result if share < 1 else "right"

        return run

    names = [("a", "right"), ("b", "late"), ("c", "right"), ("d", "right")]
    runs = [slots.run(named(*one), is_late) for one in names]
    assert await asyncio.gather(*runs) == ["right"] * 4
    assert ran == [("a", 1.0), ("b", BRIEF), ("c", BRIEF), ("d", 1.0), ("b", 1.0)]


@pytest.mark.parametrize("when", ["waits", "runs"])
async def test_a_slot_survives_a_cancelled_or_failing_program(when: str) -> None:
    slots = FairSlots(1)
    first = asyncio.create_task(slots.run(program(1.0), is_late))
    second = asyncio.create_task(slots.run(program(1.0), is_late))
    await asyncio.sleep(0)
    (second if when == "waits" else first).cancel()
    done = await asyncio.gather(first, second, return_exceptions=True)
    assert sorted(map(str, done)) == ["", "right"]

    async def broken(_: float) -> str:
        raise OSError

    with pytest.raises(OSError):
        await slots.run(broken, is_late)
    assert repr(slots) == "FairSlots(1 free, 0 new and 0 again)"
