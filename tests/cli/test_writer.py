"""Group commit: safe before it is acknowledged, also when the work is cancelled or the disk is full."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from judge_service.cli.journal import Entry, Journal
from judge_service.cli.writer import COMMIT_AT_ROWS, Writer
from judge_service.errors import JudgeServiceError
from tests.cli.conftest import entry


async def test_results_are_committed_in_groups(tmp_path: Path) -> None:
    acknowledged: list[int] = []
    with Journal(tmp_path / "j") as journal:
        async with Writer(journal, lambda batch: acknowledged.append(len(batch))) as writer:
            for position in range(3 * COMMIT_AT_ROWS):
                await writer.add(entry(position))

        assert sum(acknowledged) == 3 * COMMIT_AT_ROWS
        assert len(acknowledged) <= 3
        assert len(list(journal.entries(10**6))) == 3 * COMMIT_AT_ROWS


async def test_a_lone_result_does_not_wait_for_others(tmp_path: Path) -> None:
    done = asyncio.Event()
    with Journal(tmp_path / "j") as journal:
        async with Writer(journal, lambda _batch: done.set()) as writer:
            await writer.add(entry(0))
            async with asyncio.timeout(5):
                await done.wait()
            assert repr(writer).startswith("Writer(pending=0, Journal(j, committed=1 rows")


async def test_cancelled_work_keeps_the_results_it_had(tmp_path: Path) -> None:
    async def work(journal: Journal) -> None:
        async with Writer(journal, lambda _batch: None) as writer:
            await writer.add(entry(0))
            await asyncio.Event().wait()

    with Journal(tmp_path / "j") as journal:
        task = asyncio.create_task(work(journal))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert len(list(journal.entries(1))) == 1


async def test_a_full_disk_stops_the_work_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    acknowledged: list[int] = []

    async def fill(journal: Journal) -> None:
        async with Writer(journal, lambda batch: acknowledged.extend(positions(batch))) as writer:
            for position in range(100_000):
                await writer.add(entry(position))

    with Journal(tmp_path / "j") as journal:
        journal._database.execute("PRAGMA max_page_count=2000")  # a small disk
        with pytest.raises(JudgeServiceError, match="the disk is full; free some space"):
            await fill(journal)
    with Journal(tmp_path / "j") as journal:
        kept = positions(journal.entries(10**6))

    assert len(kept) > 100
    assert kept == acknowledged


def positions(entries: Iterable[Entry]) -> list[int]:
    return [one.position for one in entries]
