import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from judge_service.telemetry.counters import Counters, total
from judge_service.telemetry.state import ServiceState, TargetState
from judge_service.telemetry.window import Window
from judge_service.telemetry.workers import STALE_S, Workers
from tests.telemetry.conftest import graded


def state() -> ServiceState:
    target = TargetState(target="t", breaker="closed", waiting_by_lane={}, in_flight=3, slots=8)
    return ServiceState(targets=(target,))


def ended_pid() -> int:
    """The id of a process that there was."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


async def samples(workers: Workers) -> int:
    snapshots = await workers.snapshots()
    return total(Counters(), *[snapshot.counters for snapshot in snapshots]).samples.get(
        "scored", 0
    )


async def work(window: Window, times: int) -> None:
    for number in range(times):
        window(graded(number))


async def test_any_worker_shows_all_of_them(tmp_path: Path) -> None:
    one, other = Window(), Window()
    first, second = Workers(one, tmp_path, pid=os.getpid()), Workers(other, tmp_path, pid=1)

    async with first.running(state):
        await work(one, 3)
        async with second.running(state):
            await work(other, 4)
        seen = await first.snapshots()
        assert await samples(first) == 7

    assert [snapshot.pid for snapshot in seen] == [os.getpid(), 1]
    assert sum(snapshot.state.targets[0].in_flight for snapshot in seen) == 6
    assert first.sees_others


async def test_counters_do_not_fall_when_a_worker_dies_and_another_takes_its_place(
    tmp_path: Path,
) -> None:
    watcher_window, dead, heir = Window(), Window(), Window()
    watcher = Workers(watcher_window, tmp_path, pid=1)
    async with watcher.running(state):
        async with Workers(dead, tmp_path, pid=ended_pid()).running(state):
            await work(dead, 5)
        assert await samples(watcher) == 5

        async with Workers(heir, tmp_path, pid=os.getpid()).running(state):
            await work(heir, 2)
        assert await samples(watcher) == 7
        files = await asyncio.to_thread(os.listdir, tmp_path)
        assert len(files) == 2, "the dead one's file was taken over"


async def test_a_worker_with_the_id_of_a_dead_one_counts_on(tmp_path: Path) -> None:
    for _ in range(3):
        window = Window()
        workers = Workers(window, tmp_path)
        async with workers.running(state):
            await work(window, 1)

    assert await samples(workers) == 3


async def test_two_that_start_together_do_not_inherit_the_same(tmp_path: Path) -> None:
    async with Workers(window := Window(), tmp_path, pid=ended_pid()).running(state):
        await work(window, 5)
    one = Workers(Window(), tmp_path, pid=os.getpid())
    other = Workers(Window(), tmp_path, pid=1)

    async with one.running(state), other.running(state):
        assert await samples(one) == 5


async def test_the_gauges_of_a_silent_worker_are_not_shown(tmp_path: Path) -> None:
    late = Window(now=lambda: 1e9)
    async with Workers(late, tmp_path, pid=1).running(state):
        await work(late, 1)
    watcher = Workers(Window(now=lambda: 1e9 + STALE_S + 1), tmp_path, pid=2)

    _, silent = await watcher.snapshots()

    assert silent.state == ServiceState()
    assert silent.counters.samples == {"scored": 1}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"pid": 1}'])
async def test_a_file_that_is_none_of_ours_is_passed_over(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "17.judge.json").write_bytes(content)
    (tmp_path / "notes.txt").write_text("hello")
    window = Window()
    workers = Workers(window, tmp_path)

    async with workers.running(state):
        await work(window, 1)
        assert await samples(workers) == 1


async def test_a_reader_never_meets_half_a_snapshot(tmp_path: Path) -> None:
    writer, reader = Workers(Window(), tmp_path, pid=1), Workers(Window(), tmp_path, pid=2)
    await asyncio.to_thread(writer._publish, tmp_path, writer._own())
    for _ in range(50):
        _, seen = await asyncio.gather(
            asyncio.to_thread(writer._publish, tmp_path, writer._own()), reader.snapshots()
        )
        assert len(seen) == 2


async def test_alone_it_writes_nothing_and_says_that_it_sees_nobody_else() -> None:
    workers = Workers(window := Window())
    async with workers.running(state):
        await work(window, 2)
        [own] = await workers.snapshots()

    assert own.state.targets[0].in_flight == 3
    assert not workers.sees_others


async def test_a_directory_that_cannot_be_written_costs_the_sight_of_it_and_not_the_service(
    tmp_path: Path,
) -> None:
    window = Window()
    workers = Workers(window, tmp_path / "gone")
    async with workers.running(state):
        for path in (tmp_path / "gone").iterdir():
            path.unlink()
        (tmp_path / "gone").rmdir()
        await work(window, 1)
        assert await samples(workers) == 1


def test_a_snapshot_is_small(tmp_path: Path) -> None:
    clock = [1e9]
    window = Window(now=lambda: clock[0])
    for number in range(3000):
        window(graded(f"sample-{number}", parts=dict.fromkeys("abcde", 0.5)))
        clock[0] += 0.1

    assert len(window.snapshot(1)) < 200_000
    assert msgspec.json.decode(window.snapshot(1))["pid"] == 1
