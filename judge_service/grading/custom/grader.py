"""Grades samples with a function of the user's instead of a rubric and a judge (docs/custom-grader.md).

The function may block, hang, raise anything or return nonsense. So it runs on separate threads, within a
time limit, and any outcome becomes a reward: with a score, or with the line of code that failed.
"""

import asyncio
import inspect
from collections import Counter
from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any

from msgspec import Struct

from judge_service.errors import SettingsError
from judge_service.flow import Request
from judge_service.grading.custom.forms import recognise
from judge_service.grading.custom.loops import Loops
from judge_service.grading.custom.score import MAX_NAMES, BadScoreError, Score
from judge_service.grading.custom.source import Source, describe, load_source
from judge_service.grading.custom.threads import OverdueError, StuckError, Threads
from judge_service.grading.rewards import printable
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import Part, Reward, Sample

IMPORT_TIMEOUT_S = 60.0
"""Limit of the module's import, seconds; the largest libraries take ten."""


class Failure(Struct, frozen=True):
    """The reason why there is no score: a word of `UNSCORED_REASONS`, and a sentence."""

    reason: str
    detail: str


class CustomGraderStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the grader was made.

    graded: samples that got a reward. scored: those with a score. unscored: the others, by reason.
    threads: started and not ended. lost: those of them that are blocked by a call past its time limit.
    """

    graded: int
    scored: int
    unscored: Mapping[str, int]
    threads: int
    lost: int


class CustomGrader:
    """Grades samples with a function of the user's. `await grader(request)` never fails.

    It belongs to the event loop on which it is first used.

    timeout_s: limit of one call, seconds; after it the sample is unscored and the call is abandoned.
    """

    def __init__(self, source: Source, *, timeout_s: float) -> None:
        self._source = source
        self._form = recognise(source.function, source.spec)
        self._timeout_s = timeout_s
        self._is_async = _is_async(source.function)
        self._threads = Threads()
        self._loops = Loops()
        self._part_names: dict[str, None] = {}
        self._scored = 0
        self._unscored: Counter[str] = Counter()
        self.rubric = Rubric(
            name=source.spec, version=source.version, criteria=(), system="", user=""
        )

    def __repr__(self) -> str:
        kind = "async function" if self._is_async else "function"
        return (
            f"<CustomGrader {self._source.spec} {self._source.version}, {kind} in {self._form.name} form,"
            f" at most {self._timeout_s:g} s>"
        )

    def statistics(self) -> CustomGraderStatistics:
        """A copy of the counts."""
        threads = (self._loops if self._is_async else self._threads).statistics()
        return CustomGraderStatistics(
            graded=self._scored + self._unscored.total(),
            scored=self._scored,
            unscored=dict(self._unscored),
            threads=threads.threads,
            lost=threads.lost,
        )

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`."""
        outcome: Score | Failure
        if request.body.response is None:
            outcome = Failure("no_response", "the row has no response")
        else:
            outcome = await self._outcome(request)
        return self._count(self._reward(outcome))

    def close(self) -> None:
        """Ends the threads that can be ended."""
        self._threads.close()
        self._loops.close()

    async def _outcome(self, request: Request[Sample]) -> Score | Failure:
        try:
            return await self._run(request)
        except StuckError:
            return self._failure("is no longer called: too many calls did not return; fix it")
        except OverdueError as late:
            place = self._source.place_in(late.frame)
            return self._overdue(place, at_deadline=self._left_s(request) <= 0)

    async def _run(self, request: Request[Sample]) -> Score | Failure:
        sample, deadline = request.body, request.deadline
        if not self._is_async:
            attempt = partial(self._attempt, sample)
            return await self._threads.run(attempt, self._timeout_s, deadline)
        left_s = self._left_s(request)
        limit_s = min(self._timeout_s, left_s)
        wait = partial(self._attempt_async, sample, limit_s, at_deadline=left_s <= self._timeout_s)
        return await self._loops.run(wait, self._timeout_s, deadline)

    def _attempt(self, sample: Sample) -> Score | Failure:
        """Runs on a thread. Raises nothing."""
        try:
            return self._read(self._source.function(**self._form.arguments(sample)))
        except BaseException as problem:  # noqa: BLE001 - a row gets its answer, also after `exit()`
            return self._broken(problem)

    async def _attempt_async(
        self, sample: Sample, limit_s: float, *, at_deadline: bool
    ) -> Score | Failure:
        """Runs on the event loop of the user's code. Raises nothing."""
        limit = asyncio.timeout(limit_s if limit_s < inf else None)
        try:
            async with limit:
                value = await self._source.function(**self._form.arguments(sample))
            return self._read(value)
        except BaseException as problem:  # noqa: BLE001 - see above
            if limit.expired() and isinstance(problem, TimeoutError):
                place = self._source.place(problem.__cause__ or problem)
                return self._overdue(place, at_deadline=at_deadline)
            return self._broken(problem)

    def _read(self, value: Any) -> Score | Failure:
        if inspect.iscoroutine(value):
            value.close()
            raise BadScoreError("it returned a coroutine; declare it `async def`")
        score = self._form.read(value)
        if score is None:
            return Failure("abstained", f"{self._source.spec} returned None for this row")
        return score

    def _broken(self, problem: BaseException) -> Failure:
        if isinstance(problem, BadScoreError):
            return self._failure(f"returned no usable score: {problem}")
        return self._failure(f"failed{self._source.place(problem)}: {describe(problem)}")

    def _overdue(self, place: str, *, at_deadline: bool) -> Failure:
        spec = self._source.spec
        if at_deadline:
            return Failure(
                "deadline",
                f"the deadline passed while your grader {spec} was{place or ' waited for'}",
            )
        return self._failure(
            f"did not return within {self._timeout_s:g} s (`grader_timeout_s`)"
            + (f" and is still{place}" if place else "")
        )

    def _failure(self, what: str) -> Failure:
        return Failure("grader_error", printable(f"your grader {self._source.spec} {what}"))

    def _left_s(self, request: Request[Sample]) -> float:
        return request.deadline - asyncio.get_running_loop().time()

    def _reward(self, outcome: Score | Failure) -> Reward:
        if isinstance(outcome, Score):
            names = self._part_names | dict.fromkeys(outcome.parts)
            if len(names) > MAX_NAMES:
                return self._reward(self._failure(f"names more than {MAX_NAMES} different parts"))
            self._part_names = names
            return Reward(
                score=outcome.score,
                parts=self._parts(outcome.parts, "cannot_judge"),
                metrics=outcome.metrics,
                model=self._source.spec,
            )
        return Reward(
            score=None,
            reason=outcome.reason,
            detail=outcome.detail,
            parts=self._parts({}, outcome.reason),
            model=self._source.spec,
        )

    def _parts(self, scores: Mapping[str, float], reason: str) -> tuple[Part, ...]:
        """All parts named so far, so that every row of a batch has the same. None is part of the score."""
        return tuple(
            Part(name, scores.get(name), 0.0, None if name in scores else reason)
            for name in self._part_names
        )

    def _count(self, reward: Reward) -> Reward:
        if reward.reason is None:
            self._scored += 1
        else:
            self._unscored[reward.reason] += 1
        return reward


def _is_async(function: Any) -> bool:
    """Whether calls must be awaited; also true for an object whose `__call__` is async."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - which function it is, not whether it is one
    )


async def open_custom_grader(spec: str, *, timeout_s: float) -> CustomGrader:
    """Imports the function on a thread, and recognises its form.

    Raises SettingsError if it cannot be imported, with the line that failed.
    """
    threads = Threads(max_threads=1)
    try:
        source = await threads.run(partial(_attempt_load, spec), IMPORT_TIMEOUT_S, inf)
    except OverdueError:
        raise SettingsError(
            f"`grader`: importing {spec} did not end within {IMPORT_TIMEOUT_S:g} s"
        ) from None
    finally:
        threads.close()
    if isinstance(source, SettingsError):
        raise source
    return CustomGrader(source, timeout_s=timeout_s)


def _attempt_load(spec: str) -> Source | SettingsError:
    """Runs on a thread. Raises nothing."""
    try:
        return load_source(spec)
    except SettingsError as problem:
        return problem
    except BaseException as problem:  # noqa: BLE001 - foreign code: `raise KeyboardInterrupt` at its top
        return SettingsError(printable(f"`grader`: {spec} cannot be imported: {describe(problem)}"))
