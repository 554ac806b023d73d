"""The composition root: opens a judge from settings. Only it and `assembly` import all other parts."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from math import inf
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from weakref import WeakSet

from judge_service.assembly import Parts, canaries_beside, explanation, open_parts, patient
from judge_service.backends import Backend
from judge_service.flow import Handler, Request
from judge_service.flow.workers import work_off, work_through
from judge_service.grading import JudgeMonitorStatistics, given_up, spreads
from judge_service.settings import Settings
from judge_service.telemetry.events import GroupScored, SampleGraded, Sink, ignore
from judge_service.telemetry.state import ServiceState
from judge_service.throughput import Throughput
from judge_service.values import Prompt, Ranking, Reward, Sample, require_sample
from judge_service.verifiers import MODULES
from judge_service.wire import Answer, Batch, Late, ReplyPolicy, decode_event, encode_reply

if TYPE_CHECKING:  # imported where they are used: a cold start pays for every module
    from judge_service.assembly.trial import Trial
    from judge_service.backends.scripted import Script
    from judge_service.grading import Ranker
    from judge_service.grading.outage import Outage, Tell

K = TypeVar("K")

Lane = Literal["interactive", "training", "bulk"]


class JudgeService:
    """An open judge. Made by `open_service`; belongs to the event loop on which it was opened."""

    def __init__(self, parts: Parts, sink: Sink) -> None:
        settings = self.settings = parts.settings
        rubric = self.rubric = parts.rubric
        self._rubric_version = f"{rubric.name}@{rubric.version}"
        self._graders = parts.graders
        self._grader = parts.graders.whole
        self._ranker: Ranker | None = None
        self._groups = self._flat_groups = 0
        self._runs: WeakSet[Outage] = WeakSet()
        self._at_work, self._largest_group = parts.at_work, parts.largest_group
        self.instrument = parts.instrument  # what can change an answer
        self._assembly = parts.assembly
        self._monitor = parts.monitor
        self._sink = sink
        self._reply_policy = ReplyPolicy(
            policy=settings.unscored.policy,
            max_fraction=settings.unscored.max_fraction,
            memory_s=settings.unscored.memory_s,
            score_range=settings.wire.score_range,
            now=time.monotonic,
        )

    @property
    def model(self) -> str:
        """The judge's model id, or the embedded model's name."""
        return self._assembly.targets[0].backend.model

    async def score(
        self,
        samples: Sequence[Sample],
        *,
        deadline_s: float | None = None,
        lane: Lane = "training",
        job: str = "",
    ) -> list[Reward]:
        """Returns one reward per sample, in order. A sample that cannot be judged has `score=None`.

        deadline_s: seconds for the whole batch, `settings.deadline_s` by default. Samples that are not judged
            by then have the reason `deadline`.
        lane: the queue for quota; lanes share it 8 (interactive) : 4 (training) : 1 (bulk).
        job: name of the job, tenant or caller; jobs share a lane fairly.

        Never raises if a sample cannot be judged, TypeError if it is none. Cancelling it cancels the work.
        """
        samples = [require_sample(sample) for sample in samples]
        seconds = self.settings.deadline_s if deadline_s is None else deadline_s
        deadline = asyncio.get_running_loop().time() + seconds
        canaries = self._monitor.canaries.due() if samples else ()
        if not canaries:
            return await self._score(samples, deadline, lane, job)

        def request_of(sample: Sample) -> Request[Sample]:
            return Request(sample, deadline, lane, job)

        async with canaries_beside(canaries, self._graders.askings, self._monitor, request_of):
            return await self._score(samples, deadline, lane, job)

    async def _score(
        self, samples: Sequence[Sample], deadline: float, lane: Lane, job: str
    ) -> list[Reward]:
        if len(samples) == 1:  # no worker pool is needed, which saves a third of the cost
            return [await self._grade(Request(samples[0], deadline, lane, job))]

        def grade(sample: Sample) -> Awaitable[Reward]:
            return self._grade(Request(sample, deadline, lane, job))

        rewards = await work_off(samples, grade, workers=self._at_work)
        self._note_groups(samples, rewards)
        return rewards

    def _note_groups(self, samples: Sequence[Sample], rewards: Sequence[Reward]) -> None:
        for one in spreads(samples, rewards):
            self._groups += 1
            self._flat_groups += one.is_flat
            self._sink(GroupScored(size=one.size, spread=one.spread, is_flat=one.is_flat))

    async def stream(
        self,
        jobs: AsyncIterable[tuple[K, Sample]] | Iterable[tuple[K, Sample]],
        *,
        window: int | None = None,
        deadline_s: float | None = None,
        deadline: float | None = None,
        lane: Lane = "training",
        job: str = "",
        tell: "Tell | None" = None,
        max_wait_s: float = inf,
    ) -> AsyncGenerator[tuple[K, Reward]]:
        """Yields rewards as they are ready, each with the key of its sample.

        jobs: pairs of key and sample; read as results are taken, so that little more than `window` samples
            (nine eighths of it) are in memory.
        window: samples in work at the same time, by default twice `limits.max_in_flight`; if responses of a
            group are compared, at least a whole group.
        deadline_s: seconds for each sample from the beginning of its work; by default none, because a
            long file needs as long as its quota requires.
        deadline: time of the loop's clock at which all work ends; by default none.
        lane, job: as in `score`.
        tell: called when all work waits for the judge, and when it continues.
        max_wait_s: limit of one such wait, seconds; by default none.

        Without a deadline no sample is lost to an outage of the judge or to a used-up quota: it
        waits and is judged later (`grading.outage`). With a deadline no sample is judged twice.

        Raises JudgeOut after `max_wait_s`, and any error of `jobs` and `tell`.

        A process that does nothing else should call `garbage_collection.settle_garbage_collection`
        first, as `judge score` does: it halves the longest stall of the loop (`loadtest/large_job.py`).
        """
        size = max(window or self._at_work, self._largest_group)
        loop = asyncio.get_running_loop()
        at_last = inf if deadline is None else deadline
        work: Handler[Sample, Reward] = self._grade
        if deadline_s is None and deadline is None:
            waiting = patient(
                self._graders, self._runs, lane=lane, job=job, tell=tell, max_wait_s=max_wait_s
            )
            work = partial(self._grade, grader=waiting)

        def grade(sample: Sample) -> Awaitable[Reward]:
            until = at_last if deadline_s is None else min(at_last, loop.time() + deadline_s)
            return work(Request(sample, until, lane, job))

        async with aclosing(work_through(jobs, grade, workers=size)) as finished:
            async for key, reward in finished:
                yield key, reward

    async def rank(
        self,
        samples: Sequence[Sample],
        *,
        deadline_s: float | None = None,
        lane: Lane = "training",
        job: str = "",
    ) -> Ranking:
        """Ranks responses to one prompt: the judge compares them in two opposite orders (docs/rank.md).

        samples: 2 to 16, equal except for id and response.
        deadline_s, lane, job: as in `score`.

        Raises WireError if the samples are not such a group. Never raises if they cannot be judged.
        """
        loop = asyncio.get_running_loop()
        started = loop.time()
        seconds = self.settings.deadline_s if deadline_s is None else deadline_s
        for sample in samples:
            self._monitor.guards.look(require_sample(sample))
        if self._ranker is None:
            self._ranker = await asyncio.to_thread(self._graders.open_ranker)
        ranking = await self._ranker(Request(samples, started + seconds, lane, job))
        duration_s = loop.time() - started
        for sample, reward in zip(samples, ranking.rewards, strict=True):
            self._sink(SampleGraded(id=sample.id, reward=reward, duration_s=duration_s))
        return ranking

    async def answer(
        self,
        event: Any,
        *,
        deadline_s: float | None = None,
        lane: Lane = "training",
        job: str = "",
    ) -> Any:
        """Grades a trainer's event. Returns the reply in the trainer's format, with the reply policy applied.

        event: parsed JSON in any dialect of `docs/contracts.md`.
        lane, job: as in `score`.

        Raises WireError if the event is not a batch, TooManyUnscored if too many samples have no score.
        """
        return await self.answer_batch(
            decode_event(event), deadline_s=deadline_s, lane=lane, job=job
        )

    async def answer_batch(
        self,
        batch: Batch,
        *,
        deadline_s: float | None = None,
        lane: Lane = "training",
        job: str = "",
        late: Late = "count",
        max_reply_bytes: int | None = None,
    ) -> Any:
        """The same as `answer` for an event that is already decoded (`wire.decode_event`).

        late: what to do with rows that are not judged before the deadline, see `wire.Late`.
        max_reply_bytes: a longer reply is sent without explanations; if still too long, it is a WireError.
        """
        rewards = await self.score(batch.samples, deadline_s=deadline_s, lane=lane, job=job)
        answers = self._reply_policy.answer(batch.samples, rewards, late, tenant=job)
        wanted = self.settings.wire.envelope
        envelope = batch.envelope if wanted == "auto" else wanted
        return encode_reply(answers, envelope, max_reply_bytes)

    async def rest(self) -> None:
        """Ends calls whose caller has gone, and counts them as charged.

        Call it before the process is frozen: after it these calls would time out as failures of the judge.
        """
        await self._assembly.detached.abandon()

    def thaw(self) -> None:
        """Drops leases of a shared quota that expired while the process was frozen.

        Buckets and connections detect a freeze by themselves.
        """
        for target in self._assembly.targets:
            if target.shared is not None:
                target.shared.thaw()

    async def answers(
        self,
        samples: Sequence[Sample],
        *,
        deadline_s: float | None = None,
        lane: Lane = "training",
        job: str = "",
        refuse: bool = True,
    ) -> list[Answer]:
        """Returns one number per sample, in order, in the wire range, with the reply policy applied.

        deadline_s, lane, job: as in `score`.
        refuse: `False` for a trainer that cannot handle an error: nothing is raised, and every sample that
            was not judged gets a substitute.

        Raises TooManyUnscored if too many samples have no score.
        """
        rewards = await self.score(samples, deadline_s=deadline_s, lane=lane, job=job)
        return self._reply_policy.answer(samples, rewards, refuse=refuse, tenant=job)

    async def try_out(self, samples: Sequence[Sample] = ()) -> "Trial":
        """Scores one sample, by default a built-in one, and records every judge call (`assembly.trial`)."""
        from judge_service.assembly.trial import try_out  # noqa: PLC0415 - only what is used

        parts = self._graders, self._assembly, self.settings
        return await try_out(samples, self.stream, *parts)

    def statistics(self) -> ServiceState:
        """The present state: calls waiting and in flight, tokens spent. It takes microseconds."""
        return ServiceState(
            model=self.model,
            rubric=self._rubric_version,
            targets=tuple([target.state() for target in self._assembly.targets]),
            groups=self._groups,
            flat_groups=self._flat_groups,
            waiting_runs=Counter(run.waits_for for run in self._runs if run.waits_for),
        )

    def watched(self) -> JudgeMonitorStatistics:
        """Statistics of guards, canaries and monitors (docs/guards.md)."""
        return self._monitor.statistics()

    def is_busy(self) -> bool:
        """Whether work waits for quota or for a slot, at every target."""
        return all(target.gate.waiting for target in self._assembly.targets)

    def explain(self) -> list[tuple[str, list[str]]]:
        """The assembled stacks, outermost layer first, each layer with its settings."""
        return explanation.explain(self._graders, self._assembly)

    def describe(self) -> tuple[list[str], list[str]]:
        """A description of the rubric in sentences, and advice for a better one; a line each."""
        from judge_service.grading import advise, describe  # noqa: PLC0415 - only what is used

        return describe(self.rubric), advise(self.rubric)

    def prompts(self, sample: Sample) -> list[tuple[str, Prompt]]:
        """The judge calls for a sample: the model and the prompt of each."""
        return [
            (asking.rubric.model or self.settings.model or self.model, asking.prompt(sample))
            for asking in self._graders.askings
        ]

    def expect(self, *, text_tokens: int = 300) -> Throughput:
        """The steady rate that the configured quota allows, and the setting that limits it.

        text_tokens: tokens of one sample's response and reference together; those of the template are known.
        """
        return explanation.expected(self.settings, self._graders.askings, text_tokens)

    async def _grade(
        self, request: Request[Sample], grader: Handler[Sample, Reward] | None = None
    ) -> Reward:
        """Grades one sample, and reports it. grader: `self._grader` by default."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._monitor.guards.look(require_sample(request.body))
        try:
            reward = await (grader or self._grader)(request)
        except asyncio.CancelledError as problem:
            reward = given_up(problem, self.rubric)
        if self._sink is not ignore:
            graded = SampleGraded(
                id=request.body.id,
                reward=reward,
                duration_s=loop.time() - started,
                rubric=self._rubric_version,
                response=request.body.response,
            )
            self._sink(graded)
        self._monitor.note(request.body, reward)
        return reward


@asynccontextmanager
async def open_service(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    sink: Sink = ignore,
    model: Backend | None = None,
    stand_in: bool = True,
) -> AsyncIterator[JudgeService]:
    """Opens a judge as a context manager, which closes on leaving what it started.

    settings: `Settings()` by default: the embedded judge with the similarity rubric.
    environ: contains credentials and region; `os.environ` by default.
    sink: gets the events (`judge_service.telemetry.events`).
    model: a backend that replaces the configured one (for example a double in tests).
    stand_in: `False` where a training job calls: see `assembly.open_parts`.

    Raises SettingsError (RubricError) if the configuration cannot work.
    """
    environ = os.environ if environ is None else environ
    async with AsyncExitStack() as closing:
        parts = await open_parts(
            settings or Settings(), environ, sink, closing, model=model, stand_in=stand_in
        )
        yield JudgeService(parts, sink)


def open_rehearsal(
    settings: Settings, script: "Script"
) -> AbstractAsyncContextManager[JudgeService]:
    """Opens a judge without a model that answers from a script, to try out a rubric.

    script: for the text of a response, the number for each criterion on its scale; without an entry the judge
        answers with the middle of the scale.

    Raises SettingsError (RubricError) if the configuration cannot work.
    """
    from judge_service.backends.scripted import rehearse  # noqa: PLC0415 - only what is used

    return open_service(settings, environ={}, model=rehearse(script))


def schema_of_rubrics() -> dict[str, Any]:
    """The JSON Schema of a rubric file, with all kinds of verifier."""
    from judge_service.grading.rubric.schema import rubric_schema  # noqa: PLC0415 - only what is used

    return rubric_schema(list(MODULES))
