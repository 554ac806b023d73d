"""The grader of a run without deadlines: it waits during outages of the judge (`grading.outage`)."""

import time
from typing import TYPE_CHECKING
from weakref import WeakSet

from judge_service.assembly.graders import Graders
from judge_service.flow import Handler, Request, stack
from judge_service.values import Reward, Sample, Wait

if TYPE_CHECKING:  # imported where it is used: a cold start pays for every module
    from judge_service.grading.outage import Outage, Tell


def patient(
    graders: Graders,
    runs: "WeakSet[Outage]",
    *,
    lane: str,
    job: str,
    tell: "Tell | None",
    max_wait_s: float,
) -> Handler[Sample, Reward]:
    """A grader for one run. tell, max_wait_s: see `Outage`. lane, job: those of the probe calls.

    runs: the run's `Outage` is added to it.
    """
    from judge_service.grading import outage  # noqa: PLC0415 - only what is used

    async def ask() -> Reward:
        """Probes all judges of the rubric. Returns the first reward without a score, else the last one."""
        found = Reward(score=0.0)
        for asking in graders.askings:
            question = Request(outage.QUESTION, lane=lane, job=job)
            found = await asking.grader(question, draw=time.time_ns())  # in no cache
            if found.score is None:
                break
        return found

    run = outage.Outage(ask=ask, tell=tell or _tell_nobody, max_wait_s=max_wait_s)
    runs.add(run)
    return stack(graders.whole, run)


async def _tell_nobody(_wait: Wait) -> None:
    """Ignores the event, for a run without a `tell` function."""
