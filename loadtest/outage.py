"""Rows that an outage of five minutes or a day without quota costs a job and `judge score`.

    python loadtest/outage.py [--rows 20000]

In virtual time, with the judge of `world_judge.py` and the real doors: a job on disk, and `judge score` with
its journal. A row is lost when it has no result at the end, and unjudged when its result has no score.

Virtual time flies and the disk does not. So results are committed every half second, and jobs are looked
after every 15 minutes.
"""

import asyncio
import json
import random
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine
from math import inf
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

from measuring import at_most, report, say, settings_for, sizes
from msgspec import Struct
from rows import row
from world_judge import WorldJudge

from judge_service import open_service
from judge_service.api.access import ANYBODY
from judge_service.api.jobs import result_writer, scheduler
from judge_service.api.jobs import service as jobs_service
from judge_service.api.jobs.service import open_job_service
from judge_service.cli import writer
from judge_service.cli.journal import Journal
from judge_service.cli.progress import Silence
from judge_service.cli.rows import open_rows
from judge_service.cli.score import Work, judge_rows
from judge_service.flow import Request
from judge_service.settings import Settings
from judge_service.simulator import SimulatorConfig, Spell
from judge_service.testing import InlineThreads, run_virtual
from judge_service.values import Completion, Prompt

R = TypeVar("R")

PER_MINUTE = 6_000
MAX_IN_FLIGHT = 128
LOOK_S = 900.0
COMMIT_EVERY_S = 0.5
OUTAGES = {
    "an outage of 5 minutes": Spell("unavailable", at_s=5, for_s=300),
    "a day without quota": Spell("daily_quota", at_s=5, for_s=86_400),
}
GOES_ON_WITHIN_S = {"an outage of 5 minutes": 65, "a day without quota": 905}
"""The longest wait between two questions (`grading.outage`), and a little for the answer."""

Results = list[float | None]
"""The score of each row that has a result, `None` for one without a score."""


class Seen(Struct, frozen=True):
    """What came of the rows of one door in one outage.

    sent: calls while it lasted. went_on_after_s: from its end to the first answer.
    """

    rows: int
    results: int
    unjudged: int
    sent: int
    went_on_after_s: float

    @property
    def cost(self) -> int:
        """Rows lost or finished unjudged."""
        return self.rows - self.results + self.unjudged


class OutageJudge(WorldJudge):
    """Notes what is sent to it in the outage, and when it answers again."""

    def __init__(self, outage: Spell) -> None:
        config = SimulatorConfig(
            requests_per_minute=PER_MINUTE,
            latency_median_s=0.3,
            spells=(outage,),
            max_events=0,
            max_tracked_prompts=0,
        )
        super().__init__(config)
        self._ends_s = outage.at_s + (outage.for_s or inf)
        self._spell = outage
        self._first_s: float | None = None
        self.sent = 0
        self.back_after_s = inf

    async def __call__(self, request: Request[Prompt]) -> Completion:
        loop = asyncio.get_running_loop()
        if self._first_s is None:
            self._first_s = loop.time()
        self.sent += self._spell.holds(loop.time() - self._first_s)
        answer = await super().__call__(request)
        since_s = loop.time() - self._first_s - self._ends_s
        if since_s >= 0:
            self.back_after_s = min(self.back_after_s, since_s)
        return answer


def main() -> None:
    options = sizes(__doc__, rows=(20_000, 700))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {"rows": options.rows, "requests_per_minute": PER_MINUTE}
    for name, outage in OUTAGES.items():
        for door, judge_all in DOORS.items():
            seen = ride_out(judge_all, outage, options.rows)
            say(f"{door}, {name}: done")
            what = f"{door}, {name}"
            figures += [
                at_most(f"{what}: rows lost or finished unjudged", seen.cost, 0),
                at_most(
                    f"{what}: first answer after it",
                    seen.went_on_after_s,
                    GOES_ON_WITHIN_S[name],
                    "s",
                ),
            ]
            details[what] = {"results": seen.results, "calls_in_the_outage": seen.sent}
    report("outage", figures, details, smoke=options.smoke)


Door = Callable[[Settings, OutageJudge, Path, int], Results]
"""Judges so many rows in a directory of its own."""


def ride_out(judge_all: Door, outage: Spell, rows: int) -> Seen:
    """Judges rows through an outage, the same way at each call."""
    random.seed(0)  # the jitter of the service's own waits
    judge = OutageJudge(outage)
    with (
        tempfile.TemporaryDirectory() as directory,
        patch.object(writer, "ThreadPoolExecutor", InlineThreads),
        patch.object(writer, "COMMIT_EVERY_S", COMMIT_EVERY_S),
        patch.object(jobs_service, "ThreadPoolExecutor", InlineThreads),
        patch.object(result_writer, "COMMIT_EVERY_S", COMMIT_EVERY_S),
        patch.object(scheduler, "LOOK_S", LOOK_S),
    ):
        settings = settings_for(
            "http://none",
            limits={"requests_per_minute": PER_MINUTE, "max_in_flight": MAX_IN_FLIGHT},
            cache={"max_entries": 0},
            service={"jobs_dir": directory},
        )
        found = judge_all(settings, judge, Path(directory), rows)
    unjudged = sum(score is None for score in found)
    return Seen(rows, len(found), unjudged, judge.sent, judge.back_after_s)


def judge_job(settings: Settings, judge: OutageJudge, _directory: Path, rows: int) -> Results:
    """As `POST /v1/jobs` does."""

    async def pieces() -> AsyncIterator[bytes]:
        yield lines(rows)

    async def judged() -> Results:
        async with opened(settings, judge) as one, open_job_service(one, lambda _: None) as jobs:
            if jobs is None:
                raise RuntimeError("`service.jobs_dir` is not set")
            job = await jobs.take(ANYBODY, pieces(), is_lines=True, reasons=False)
            while not (await jobs.facts(job.id, "")).is_finished:  # noqa: ASYNC110 - on disk
                await asyncio.sleep(LOOK_S)
            found = [piece async for piece in jobs.results(job.id, -1, rows)]
        return [json.loads(line)["score"] for line in b"\n".join(found).splitlines()]

    return in_virtual_time(judged())


def judge_file(settings: Settings, judge: OutageJudge, directory: Path, rows: int) -> Results:
    """As `judge score` does."""
    path = directory / "rollouts.jsonl"
    path.write_bytes(lines(rows))
    with open_rows(str(path), 10**6) as source, Journal(directory / "journal") as journal:
        work = Work(rows=source, settings=settings, window=2 * MAX_IN_FLIGHT)
        in_virtual_time(judge_rows(work, journal, Silence(), lambda one: opened(one, judge)))
        return [entry.reward.score for entry in journal.entries(rows)]


def in_virtual_time(scenario: Coroutine[Any, Any, R]) -> R:
    """Runs it with its threads on the loop."""

    async def run() -> R:
        asyncio.get_running_loop().set_default_executor(InlineThreads())
        return await scenario

    return run_virtual(run())


def opened(settings: Settings, judge: OutageJudge) -> Any:
    model: Any = judge
    return open_service(settings, environ={}, model=model)


def lines(rows: int) -> bytes:
    return b"".join(json.dumps(row(number)).encode() + b"\n" for number in range(rows))


DOORS: dict[str, Door] = {"job": judge_job, "judge score": judge_file}


if __name__ == "__main__":
    main()
