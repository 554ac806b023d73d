"""`judge score`: reads a file of rollouts and writes a file of rewards."""

import argparse
import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from math import inf
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from judge_service.cli.configuration import add_config_argument, read_settings
from judge_service.cli.journal import Entry, Journal, journal_path
from judge_service.cli.output import check_unscored, refuse_output, write_rewards
from judge_service.cli.progress import Progress, show_progress
from judge_service.cli.report import print_json, print_page
from judge_service.cli.rows import (
    STDIN,
    Row,
    Rows,
    chunks,
    decode,
    first_samples,
    id_of,
    open_rows,
)
from judge_service.cli.summary import RunFacts, Summary, quota_facts, summarise
from judge_service.cli.writer import Writer
from judge_service.errors import JudgeOut, SettingsError, TooManyUnscored, WireError
from judge_service.garbage_collection import settle_garbage_collection
from judge_service.settings import Settings
from judge_service.values import Criterion, Part, Reward, Sample, Wait
from judge_service.wire import dump_json, explain_missing_task

HELP = "judge a file of rollouts"
EXAMPLES = """examples:
  judge score rollouts.jsonl -o rewards.jsonl
  judge score rollouts.jsonl -o rewards.jsonl --config judge.toml --json > summary.json
  judge score rollouts.jsonl -o rewards.jsonl --retry-unscored
  zcat rollouts.jsonl.gz | judge score - -o rewards.jsonl

IN is JSONL, one rollout per line in any known dialect, or one JSON event (a list, {"batch": [...]}).
Every result is saved to OUT.journal at once: after a crash or Ctrl-C the same command continues where
it stopped. OUT is written as a whole, in the input's order, when all rows are judged.

While the judge is down, or the day's quota is used up, the run waits and says so; no row is lost.
"""

Opener = Callable[[Settings], AbstractAsyncContextManager[Any]]


class Work(Struct, frozen=True, kw_only=True):
    """The rows to judge, and the options of the run.

    window: samples in work at the same time.
    deadline_s: for each sample, seconds; `None` lets rows wait for the quota without limit.
    max_wait_s: limit of one wait for a judge that cannot be asked, seconds.
    retry_unscored: rows that an earlier run could not score are judged again.
    needs_reasons: whether the rubric must ask the judge for its reason.
    """

    rows: Rows
    settings: Settings
    window: int
    deadline_s: float | None = None
    max_wait_s: float = inf
    restart: bool = False
    retry_unscored: bool = False
    needs_reasons: bool = False


class Job(Struct, frozen=True):
    """A row that is being judged."""

    position: int
    digest: bytes
    sample: Sample


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="IN", help="JSONL or JSON file, `-` for standard input")
    parser.add_argument(
        "-o", "--output", required=True, type=Path, metavar="OUT", help="JSONL file"
    )
    add_config_argument(parser)
    parser.add_argument(
        "--restart", action="store_true", help="delete the journal and judge every row again"
    )
    parser.add_argument(
        "--retry-unscored",
        action="store_true",
        help="judge the rows again that could not be judged before",
    )
    parser.add_argument(
        "--reasons",
        action=argparse.BooleanOptionalAction,
        help="write the judge's reason for each row as `explanation`, at most 1,000 characters of each call"
        ' (default: written where the rubric has `reasoning = "brief"`)',
    )
    parser.add_argument("--json", action="store_true", help="the summary as one JSON object")
    parser.add_argument("--quiet", action="store_true", help="no progress and no summary")
    parser.add_argument(
        "--window",
        type=positive_int,
        metavar="N",
        help="rows in work at the same time (default: 2 x limits.max_in_flight)",
    )
    parser.add_argument(
        "--deadline-s",
        type=positive_float,
        metavar="S",
        help="seconds for each row, including the wait for quota (default: no limit);"
        " with it no row waits for a judge that is down",
    )
    parser.add_argument(
        "--max-wait-s",
        type=positive_float,
        default=inf,
        metavar="S",
        help="longest wait for a judge that is down; then stop, and keep the rows judged so far"
        " (default: until it is back, or Ctrl-C)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Judges the rows, writes the output, and prints the summary."""
    settings = read_settings(arguments)
    refuse_output(arguments.input, arguments.output)
    max_bytes = settings.wire.max_event_bytes
    with (
        open_rows(arguments.input, max_bytes) as rows,
        Journal(journal_path(arguments.output)) as journal,
    ):
        work = Work(
            rows=rows,
            settings=settings,
            window=arguments.window
            or 2 * settings.limits.max_in_flight * settings.pack.max_samples,
            deadline_s=arguments.deadline_s,
            max_wait_s=arguments.max_wait_s,
            restart=arguments.restart,
            retry_unscored=arguments.retry_unscored,
            needs_reasons=arguments.reasons is True,
        )
        if journal.was_empty:
            _say(
                f"{journal.path} is empty, so every row is judged; results that were in it are lost"
            )
        if said := explain_missing_task(first_samples(rows)):
            _say(said)
        facts = _judge(arguments, work, journal)
        if journal.damaged:
            _say(
                f"{journal.damaged:,} results in {journal.path} were damaged; their rows were judged again"
            )
        return _finish(arguments, rows, journal, facts, settings)


def _judge(arguments: argparse.Namespace, work: Work, journal: Journal) -> RunFacts:
    try:
        with show_progress(work.rows.total, quiet=arguments.quiet) as progress:
            return asyncio.run(_until_terminated(judge_rows(work, journal, progress)))
    except (KeyboardInterrupt, asyncio.CancelledError):
        _say_how_to_resume(arguments, journal)
        raise KeyboardInterrupt from None
    except JudgeOut:
        _say_how_to_resume(arguments, journal)
        raise


async def _until_terminated(judging: Coroutine[Any, Any, RunFacts]) -> RunFacts:
    """Handles SIGTERM like Ctrl-C: saved results are kept, and the user is told how to continue.

    SIGTERM is not converted to SIGINT, because background jobs of a shell script ignore SIGINT.
    """
    loop, task = asyncio.get_running_loop(), asyncio.ensure_future(judging)

    def terminate(*_: object) -> None:
        loop.call_soon_threadsafe(task.cancel)

    before = signal.signal(signal.SIGTERM, terminate)
    try:
        return await task
    finally:
        signal.signal(signal.SIGTERM, before)


def _finish(
    arguments: argparse.Namespace,
    rows: Rows,
    journal: Journal,
    facts: RunFacts,
    settings: Settings,
) -> int:
    settings = replace(settings, wire=replace(settings.wire, score_range=facts.score_range))
    summary = summarise(journal, facts, arguments.output, settings)
    try:
        check_unscored(summary, settings.unscored, first_samples(rows))
        reasons = arguments.reasons is not False
        write_rewards(arguments.output, journal, summary, settings, reasons=reasons)
    except TooManyUnscored:
        _report(arguments, summary, written=False)
        raise
    _report(arguments, summary, written=True)
    return 0


def _report(arguments: argparse.Namespace, summary: Summary, *, written: bool) -> None:
    if arguments.json:
        print_json(summary, written=written)
    elif not arguments.quiet:
        print_page(summary, written=written)


async def judge_rows(
    work: Work, journal: Journal, progress: Progress, opener: Opener | None = None
) -> RunFacts:
    """Judges the rows that are not in the journal; when it returns, the journal has all rows.

    opener: opens the judge, `service.open_service` by default.

    Raises SettingsError if the journal is that of another judge, or if the rubric asks for no reasons and
    `work` needs them; JudgeServiceError if the journal cannot be written.
    """
    async with (opener or _open_service)(work.settings) as judge:
        if work.needs_reasons and not judge.rubric.asks_reasons:
            raise SettingsError(
                f'--reasons: rubric {judge.rubric.name} asks the judge for none; set `reasoning = "brief"`'
                " in it, or drop the option"
            )
        await asyncio.to_thread(journal.claim, judge.instrument, restart=work.restart)
        settle_garbage_collection()
        started = time.monotonic()
        reading = Reading(work, judge.rubric.criteria, progress)
        async with Writer(journal, reading.acknowledge) as writer:
            stream = judge.stream(
                reading.jobs(writer),
                window=work.window,
                deadline_s=work.deadline_s,
                tell=reading.tell,
                max_wait_s=work.max_wait_s,
            )
            async with aclosing(stream) as results:
                async for job, reward in results:
                    await writer.add(_entry(job, reward))
        duration_s = time.monotonic() - started
        targets = judge.statistics().targets
        return RunFacts(
            total=work.rows.total,
            judged=reading.judged,
            duration_s=duration_s,
            waited_s=reading.waited_s,
            rubric=f"{judge.rubric.name} {judge.rubric.version}",
            judge=f"{work.settings.backend}:{judge.model}",
            score_range=judge.settings.wire.score_range,
            **quota_facts(targets, duration_s, judge.settings.limits.burst_s),
        )


class Reading:
    """Turns rows into jobs: skips finished rows, and gives unreadable rows their result at once."""

    def __init__(self, work: Work, criteria: Sequence[Criterion], progress: Progress) -> None:
        self._work = work
        self._criteria = criteria
        self._progress = progress
        self.judged = 0
        self.waited_s: dict[str, float] = {}

    def __repr__(self) -> str:
        return f"Reading({self._work.rows!r}, judged={self.judged})"

    def acknowledge(self, entries: Sequence[Entry]) -> None:
        """Counts results that are on disk."""
        self.judged += len(entries)
        unscored = sum(entry.reward.score is None for entry in entries)
        self._progress.advance(len(entries), unscored)

    async def tell(self, wait: Wait) -> None:
        """Shows that the run waits for the judge, and counts the time."""
        self._progress.wait(wait)
        if wait.is_over:
            self.waited_s[wait.reason] = self.waited_s.get(wait.reason, 0.0) + wait.waited_s

    async def jobs(self, writer: Writer) -> AsyncIterator[tuple[Job, Sample]]:
        """The rows to judge, read on a thread in chunks."""
        source = chunks(self._work.rows)
        while chunk := await asyncio.to_thread(next, source, None):
            known = await writer.known(
                chunk[0].position, chunk[-1].position, scored_only=self._work.retry_unscored
            )
            for row in chunk:
                digest = row.digest()
                if known.get(row.position) == digest:
                    self._progress.skip(1)
                    continue
                try:
                    sample = decode(row)
                except WireError as problem:
                    await writer.add(self._unreadable(row, digest, problem))
                    continue
                yield Job(row.position, digest, sample), sample

    def _unreadable(self, row: Row, digest: bytes, problem: WireError) -> Entry:
        reason = "unreadable"
        reward = Reward(
            score=None,
            reason=reason,
            detail=str(problem),
            parts=tuple(Part(one.name, None, one.weight, reason) for one in self._criteria),
        )
        return Entry(row.position, digest, "", dump_json(id_of(row)), reward)


def _entry(job: Job, reward: Reward) -> Entry:
    return Entry(job.position, job.digest, job.sample.group_key, dump_json(job.sample.id), reward)


def _open_service(settings: Settings) -> AbstractAsyncContextManager[Any]:
    # importing the service imports all backends, which `judge --help` does not need
    from judge_service.service import open_service  # noqa: PLC0415 - as said above

    return open_service(settings)


def _say_how_to_resume(arguments: argparse.Namespace, journal: Journal) -> None:
    again = "the same command"
    if arguments.input == STDIN:
        again += " with the same rows on its standard input"
    _say(f"stopped; the rows judged so far are in {journal.path}, and {again} continues from there")


def _say(sentence: str) -> None:
    print(f"judge: {sentence}", file=sys.stderr)


def positive_int(text: str) -> int:
    """Parses a whole number of at least 1, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not at least 1")
    return value


def positive_float(text: str) -> float:
    """Parses a finite number above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not a finite number above 0")
    return value
