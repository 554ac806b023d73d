"""What a lane is worth on the assembled stack, in virtual time."""

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
