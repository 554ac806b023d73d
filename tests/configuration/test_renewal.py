"""A configuration that changes while it is in use, under virtual time."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from judge_service.configuration import Configured, Renewal
from judge_service.errors import RubricError, SettingsError
from judge_service.settings import Settings
from judge_service.testing import run_virtual


def version(model: str, *, is_remote: bool = True) -> Configured:
    return Configured(Settings(model=model), "s3://b/judge.toml", is_remote)


class World:
    """A configuration to change, and what was opened and closed from it."""

    def __init__(self, first: Configured) -> None:
        self.now: Configured | Exception = first
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.read_s = 0.0
        self.renewal = Renewal(self.read, self.open, ttl_s=60.0, wall_s=self.wall_s)

    def wall_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def read(self) -> Configured:
        await asyncio.sleep(self.read_s)
        if isinstance(self.now, Exception):
            raise self.now
        return self.now

    @asynccontextmanager
    async def open(self, configured: Configured) -> AsyncIterator[str]:
        model = configured.settings.model
        if model == "bad":
            raise RubricError("rubric: `weight` is missing")
        if model == "broken":
            raise ZeroDivisionError
        self.opened.append(model)
        yield model
        self.closed.append(model)

    async def used(self) -> str:
        async with self.renewal.use() as value:
            return value

    async def renewed(self) -> str:
        """What is used after the time to live and a use that starts the renewal."""
        await asyncio.sleep(61)
        await self.used()
        await asyncio.sleep(1)
        return await self.used()


def test_the_first_use_opens_once_for_all_who_come_at_the_same_time() -> None:
    async def scenario() -> World:
        world = World(version("a"))
        assert await asyncio.gather(*[world.used() for _ in range(9)]) == ["a"] * 9
        await world.renewal.aclose()
        return world

    world = run_virtual(scenario())

    assert (world.opened, world.closed) == (["a"], ["a"])


def test_the_first_failure_is_raised_and_the_next_use_tries_again() -> None:
    async def scenario() -> str:
        world = World(version("bad"))
        for _ in range(2):
            with pytest.raises(RubricError, match=r"^s3://b/judge.toml: rubric: `weight`"):
                await world.used()
        world.now = version("a")
        return await world.used()

    assert run_virtual(scenario()) == "a"


def test_a_new_version_is_in_use_after_the_time_to_live_and_nobody_waits_for_it() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        world = World(version("a"))
        await world.used()
        world.now, world.read_s = version("b"), 5.0
        await asyncio.sleep(59)
        assert await world.used() == "a"
        await asyncio.sleep(2)
        began = loop.time()
        assert await world.used() == "a"
        assert loop.time() == began
        await asyncio.sleep(6)
        assert await world.used() == "b"
        assert world.closed == ["a"]
        assert world.renewal.statistics().reads == 2
        await world.renewal.aclose()

    run_virtual(scenario())


def test_the_old_version_stays_open_until_its_last_user_has_left() -> None:
    async def scenario() -> None:
        world = World(version("a"))
        async with world.renewal.use() as value:
            world.now = version("b")
            assert await world.renewed() == "b"
            assert (value, world.closed) == ("a", [])
        await asyncio.sleep(0)
        assert world.closed == ["a"]
        await world.renewal.aclose()
        assert world.closed == ["a", "b"]

    run_virtual(scenario())


@pytest.mark.parametrize(
    "bad", [version("bad"), version("broken"), SettingsError("s3://b/judge.toml: is not TOML")]
)
def test_a_bad_version_never_replaces_a_good_one_and_is_told_once(
    bad: Configured | Exception, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        world = World(version("a"))
        await world.used()
        world.now = bad
        for _ in range(3):
            assert await world.renewed() == "a"
        world.now = version("c")
        assert await world.renewed() == "c"
        world.now = bad
        assert await world.renewed() == "c"

    run_virtual(scenario())

    warnings = [one for one in caplog.records if one.levelno >= logging.WARNING]
    assert len(warnings) == 2  # once for each time it came


def test_a_configuration_without_remote_parts_is_read_once() -> None:
    async def scenario() -> int:
        world = World(version("a", is_remote=False))
        await world.used()
        await world.renewed()
        return world.renewal.statistics().reads

    assert run_virtual(scenario()) == 1


def test_a_wall_clock_that_jumped_back_does_not_stop_the_renewal() -> None:
    async def scenario() -> str:
        world = World(version("a"))
        await world.used()
        world.now = version("b")
        world.renewal._wall_s = lambda: -1e9
        await world.used()
        await asyncio.sleep(1)
        return await world.used()

    assert run_virtual(scenario()) == "b"


def test_a_user_who_is_cancelled_while_the_first_is_opened_leaves_it_to_the_others() -> None:
    async def scenario() -> str:
        world = World(version("a"))
        world.read_s = 1.0
        leaving = asyncio.create_task(world.used())
        staying = asyncio.create_task(world.used())
        await asyncio.sleep(0.5)
        leaving.cancel()
        return await staying

    assert run_virtual(scenario()) == "a"


def test_closing_ends_a_renewal_under_way() -> None:
    async def scenario() -> World:
        world = World(version("a"))
        await world.used()
        world.now, world.read_s = version("b"), 100.0
        await world.renewed()
        await world.renewal.aclose()
        assert len(asyncio.all_tasks()) == 1
        return world

    world = run_virtual(scenario())

    assert (world.opened, world.closed) == (["a"], ["a"])
