"""Lanes on the assembled stack, in virtual time: interactive calls pass bulk calls."""

import asyncio

import pytest

from judge_service.backends.scripted import Scripted
from judge_service.service import open_service
from judge_service.settings import LimitSettings, Settings
from judge_service.testing import run_virtual
from judge_service.values import Sample


def sample(number: int) -> Sample:
    return Sample(id=number, response=f"answer {number}", reference="gold")


@pytest.mark.parametrize("number", [100, 99], ids=["new", "equal to one at the end of the job"])
def test_an_interactive_question_passes_a_bulk_job_also_if_the_job_asks_the_same(
    number: int,
) -> None:
    settings = Settings(backend="bedrock", model="m", limits=LimitSettings(requests_per_minute=60))

    async def scenario() -> float:
        async with open_service(settings, model=Scripted(0.5, latency_s=0.3)) as judge:
            loop = asyncio.get_running_loop()
            bulk = asyncio.create_task(
                judge.score([sample(n) for n in range(100)], lane="bulk", deadline_s=500)
            )
            await asyncio.sleep(1)
            began_at = loop.time()
            [reward] = await judge.score([sample(number)], lane="interactive", deadline_s=400)
            took_s = loop.time() - began_at
            assert reward.score == 0.5
            assert not bulk.done()
            bulk.cancel()
            await asyncio.wait((bulk,))
            return took_s

    assert run_virtual(scenario()) <= 2.0


def test_an_interactive_sample_passes_bulk_where_slots_bind() -> None:
    """320 bulk samples of 40 callers, 6 slots, a judge of half a second, no quota: two calls' time."""
    settings = Settings(backend="bedrock", model="m", limits=LimitSettings(max_in_flight=6))

    async def scenario() -> float:
        async with open_service(settings, model=Scripted(0.5, latency_s=0.5)) as judge:
            loop = asyncio.get_running_loop()
            bulk = [
                asyncio.create_task(
                    judge.score(
                        [sample(8 * caller + n) for n in range(8)],
                        lane="bulk",
                        job=f"caller {caller}",
                        deadline_s=500,
                    )
                )
                for caller in range(40)
            ]
            await asyncio.sleep(1.3)
            began_at = loop.time()
            [reward] = await judge.score([sample(1000)], lane="interactive", deadline_s=400)
            took_s = loop.time() - began_at
            assert reward.score == 0.5
            assert sum(task.done() for task in bulk) < 40
            for task in bulk:
                task.cancel()
            await asyncio.wait(bulk)
            return took_s

    assert run_virtual(scenario()) <= 1.0
