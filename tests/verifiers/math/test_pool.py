"""The pool of workers, with real processes that run a scripted library."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable

import pytest

from judge_service.verifiers.math import pool as math_pool
from judge_service.verifiers.math.pool import Outcome, Pool
from judge_service.verifiers.math.worker import Task


@pytest.fixture(autouse=True)
def _scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(math_pool, "WORKER", "tests.verifiers.math.scripted_worker")


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    pool = Pool(1, 0.1, 256)
    yield pool
    await pool.aclose()


async def ask(pool: Pool, answer: str, reference: str = "7") -> Outcome:
    return await pool.ask(Task(answer, reference, 0.0))


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  another process brings it about
        await asyncio.sleep(0.001)


async def until_busy(pool: Pool) -> int:
    """The process that works, once it has read the reference."""
    await until(lambda: any(worker.reference_read for worker in pool._busy))
    (worker,) = pool._busy
    return worker._process.pid


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_a_worker_is_started_for_the_first_task_and_kept_for_the_next(pool: Pool) -> None:
    assert pool.statistics()["started"] == 0

    assert await ask(pool, "7") == "equal"
    assert await ask(pool, "8") == "different"

    assert pool.statistics() == {"started": 1, "idle": 1, "busy": 0, "tasks": 0}


@pytest.mark.parametrize("how", ["spin", "die"])
async def test_an_answer_that_ends_its_worker_is_to_blame_and_the_next_gets_a_new_one(
    pool: Pool, how: str
) -> None:
    assert await ask(pool, how) == "answer_exhausts"
    assert await ask(pool, "7") == "equal"
    assert pool.statistics()["started"] == 2


async def test_a_reference_that_ends_its_worker_is_told_from_an_answer(pool: Pool) -> None:
    assert await ask(pool, "7", "spin") == "reference_exhausts"


async def test_memory_ends_at_the_limit(pool: Pool) -> None:
    assert await ask(pool, "eat") == "answer_exhausts"
    assert await ask(pool, "7", "eat") == "reference_exhausts"
    assert await ask(pool, "7") == "equal"
    assert pool.statistics()["started"] == 1  # so it was the memory that ended, not the time


async def test_a_worker_that_used_much_memory_is_replaced_after_its_answer() -> None:
    pool = Pool(1, 10.0, 256)
    assert await ask(pool, "7") == "equal"
    assert await ask(pool, "grow") == "different"
    assert pool.statistics() == {"started": 1, "idle": 0, "busy": 0, "tasks": 0}


async def test_a_task_that_the_machine_gives_no_time_is_nobodys_fault(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(math_pool, "WALL_FACTOR", 5.0)
    assert await ask(pool, "sleep") == "starved"
    assert await ask(pool, "7") == "equal"


async def test_a_reference_without_mathematics_is_said_to_be_so(pool: Pool) -> None:
    assert await ask(pool, "7", "nothing") == "no_reference"


async def test_a_worker_that_does_not_start_gives_no_verdict_and_is_not_tried_for_each_task(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool = Pool(1, 0.1, 129)

    assert await ask(pool, "7") == "no_worker"
    assert await ask(pool, "7") == "no_worker"
    assert pool.statistics()["started"] == 1

    monkeypatch.setattr(pool, "_refused_until", 0.0)
    assert await ask(pool, "7") == "no_worker"
    assert pool.statistics()["started"] == 2
    await pool.aclose()


async def test_a_system_that_starts_no_process_gives_no_verdict(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")

    assert await ask(pool, "7") == "no_worker"


async def test_an_idle_worker_that_died_is_not_used(pool: Pool) -> None:
    await ask(pool, "7")
    pool._idle[0].kill()
    await until(lambda: not pool._idle[0].alive)

    assert await ask(pool, "7") == "equal"


async def test_cancelling_a_task_ends_its_process_and_frees_its_place(pool: Pool) -> None:
    task = asyncio.create_task(ask(pool, "sleep"))
    pid = await until_busy(pool)

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_there(pid)
    assert await ask(pool, "7") == "equal"


async def test_cancelling_while_a_worker_starts_leaves_no_process(pool: Pool) -> None:
    task = asyncio.create_task(ask(pool, "7"))
    await until(lambda: bool(pool._busy))
    pid = next(iter(pool._busy))._process.pid

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert not is_there(pid)
    assert pool.statistics() == {"started": 1, "idle": 0, "busy": 0, "tasks": 0}


async def test_tasks_wait_in_turn_and_one_that_is_cancelled_costs_no_worker(pool: Pool) -> None:
    tasks = [asyncio.create_task(ask(pool, answer)) for answer in ("7", "8", "9", "7")]
    await asyncio.sleep(0)
    tasks[2].cancel()

    done = await asyncio.gather(*tasks, return_exceptions=True)

    assert done[:2] == ["equal", "different"]
    assert isinstance(done[2], asyncio.CancelledError)
    assert done[3] == "equal"
    assert pool.statistics()["started"] == 1


async def test_more_tasks_than_may_wait_are_refused_at_once(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(math_pool, "MAX_TASKS", 1)

    assert await asyncio.gather(ask(pool, "7"), ask(pool, "7")) == ["equal", "crowded"]


async def test_closing_ends_every_process_and_answers_who_waits() -> None:
    pool = Pool(1, 0.5, 256)
    tasks = [asyncio.create_task(ask(pool, "sleep")) for _ in range(3)]
    pid = await until_busy(pool)

    await pool.aclose()

    assert await asyncio.gather(*tasks) == ["closed"] * 3
    assert await ask(pool, "7") == "closed"
    assert not is_there(pid)
    await pool.aclose()


async def test_a_worker_has_none_of_our_environment(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "do not pass on")
    await ask(pool, "7")

    with open(f"/proc/{pool._idle[0]._process.pid}/environ") as environ:  # noqa: ASYNC230, PTH123  a pseudo file
        names = {entry.split("=")[0] for entry in environ.read().split("\0") if entry}

    assert names <= {"PYTHONPATH", "LC_CTYPE"}


def test_a_pool_says_what_it_does() -> None:
    assert repr(Pool(2, 1.0, 256)) == "<Pool 0 busy of 2, 0 tasks>"
