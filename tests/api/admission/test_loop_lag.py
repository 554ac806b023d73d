import asyncio
from collections.abc import Awaitable, Callable

from judge_service.api.admission.loop_lag import LoopLag
from judge_service.testing import VirtualTimeLoop, run_virtual


def scenario(play: Callable[[VirtualTimeLoop, LoopLag], Awaitable[None]]) -> None:
    async def watched() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualTimeLoop)
        with LoopLag() as lag:
            await play(loop, lag)

    run_virtual(watched())


def test_a_loop_that_turns_is_not_behind() -> None:
    async def play(loop: VirtualTimeLoop, lag: LoopLag) -> None:
        for _ in range(100):
            await asyncio.sleep(0.01)
            assert not lag.is_behind

    scenario(play)


def test_a_turn_that_took_too_long_shows_at_once_and_until_the_next_look() -> None:
    async def play(loop: VirtualTimeLoop, lag: LoopLag) -> None:
        loop.stall(0.2)
        assert lag.is_behind  # the timer could not wake up yet
        await asyncio.sleep(0.01)
        assert lag.is_behind
        assert repr(lag) == "<LoopLag 150 ms>"
        await asyncio.sleep(0.1)
        assert not lag.is_behind

    scenario(play)


def test_nothing_wakes_up_after_its_end() -> None:
    async def ended() -> int:
        loop = asyncio.get_running_loop()
        with LoopLag():
            pass
        return len([timer for timer in loop._scheduled if not timer.cancelled()])  # type: ignore[attr-defined]

    assert run_virtual(ended()) == 0
