"""Group commit, in virtual time."""

import asyncio
from collections.abc import Sequence

import pytest

from judge_service.api.jobs import result_writer as module
from judge_service.api.jobs.job_file import JobFileError, Result
from judge_service.api.jobs.result_writer import ResultWriter
from judge_service.testing import run_virtual


class Disk:
    """takes_s: for a commit. groups: what was committed, by position."""

    def __init__(self, takes_s: float = 0.001) -> None:
        self.takes_s = takes_s
        self.groups: list[list[int]] = []

    async def commit(self, results: Sequence[Result]) -> None:
        await asyncio.sleep(self.takes_s)
        self.groups.append([one.position for one in results])


def result(position: int) -> Result:
    return Result(position, None, b"")


def test_what_comes_together_is_committed_together_and_the_last_does_not_wait_for_more() -> None:
    disk = Disk()

    async def scenario() -> list[list[int]]:
        async with ResultWriter(disk.commit) as writer:
            for position in range(3):
                await writer.add(result(position))
            await asyncio.sleep(0.005)
            await writer.add(result(3))
            await asyncio.sleep(1.0)
            return list(disk.groups)

    assert run_virtual(scenario()) == [[0, 1, 2], [3]]


def test_what_is_left_is_committed_when_the_work_is_cancelled() -> None:
    disk = Disk()

    async def work() -> None:
        async with ResultWriter(disk.commit) as writer:
            await writer.add(result(0))
            await asyncio.sleep(60)

    async def scenario() -> None:
        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run_virtual(scenario())

    assert disk.groups == [[0]]


def test_judging_waits_when_the_disk_is_far_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_PENDING", 4)
    disk = Disk(takes_s=10.0)

    async def scenario() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        async with ResultWriter(disk.commit) as writer:
            for position in range(9):
                await writer.add(result(position))
            return loop.time() - began

    assert run_virtual(scenario()) > 9
    assert [one for group in disk.groups for one in group] == list(range(9))
    assert max(map(len, disk.groups)) <= 4


def test_a_disk_that_fails_ends_the_work() -> None:
    async def fail(_: Sequence[Result]) -> None:
        raise JobFileError("the disk is full")

    async def scenario() -> None:
        async with ResultWriter(fail) as writer:
            while True:
                await writer.add(result(0))
                await asyncio.sleep(0.001)

    with pytest.raises(JobFileError, match="full"):
        run_virtual(scenario(), timeout_s=10)
