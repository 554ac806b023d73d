"""Many processes on one quota: half of them are killed, and the others take what they leave."""

import asyncio
import random

from judge_service.testing import run_virtual
from tests.flow.admission.test_lease import FlakyStore, Fleet


def test_what_the_killed_used_goes_to_the_others_within_two_seconds() -> None:
    async def scenario() -> None:
        random.seed(7)
        fleet = Fleet(40, 12_000, FlakyStore())
        fleet.saturate()
        await asyncio.sleep(5)
        await asyncio.gather(*(kill(process) for process in fleet.processes[:20]))
        alive = fleet.processes[20:]
        await asyncio.sleep(12)

        began_s = [at_s - fleet.started_s for process in alive for at_s in process.began_s]
        assert sum(2 <= at_s < 5 for at_s in began_s) <= 0.55 * 3 * 200
        assert sum(7 <= at_s < 17 for at_s in began_s) >= 0.97 * 10 * 200
        assert fleet.worst_window() <= 1.01
        for process in alive:
            await process.stop()

    run_virtual(scenario())


async def kill(process: object) -> None:
    """Ends it without a word to the store, as SIGKILL does."""
    ending = [*process._working, process.shared._task]  # type: ignore[attr-defined] # its insides
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
