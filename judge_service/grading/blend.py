"""Combines the scores of judges and verifiers, and the shaping, of one rubric into one reward."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from math import inf
from typing import Protocol

from msgspec import Struct
from msgspec.structs import replace

from judge_service.flow import Handler, Request, stray
from judge_service.grading.outright import Outright
from judge_service.grading.prompting.explanation import told_by
from judge_service.grading.rewards import Rewards, Spent
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import NO_USAGE, Part, Reward, Sample, Usage, Verdict


class Found(Protocol):
    """The result of a verifier for a sample: a score in [0, 1], or `None` with a reason."""

    @property
    def score(self) -> float | None: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def detail(self) -> str: ...


class Missing(Struct, frozen=True):
    """The reason why a verifier gave no result."""

    reason: str
    detail: str
    score: None = None


Verify = Callable[[Sample], Awaitable[Found]]


class BlendStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the blend was made.

    graded: samples that got a reward, scored or not. scored: those with a score.
    shaped: those whose score was lowered for the response's form. unscored: by reason.
    """

    graded: int
    scored: int
    shaped: int
    unscored: Mapping[str, int]


class Blend:
    """A grader that has judges and verifiers score the criteria of one rubric.

    `await blend(request)` never fails. Judges and verifiers run at the same time, all within the sample's
    deadline. If one criterion has no score, the sample has none. An empty response scores 0 and costs
    nothing.

    rubric: the whole rubric, judged and verified criteria.
    panels: graders, each for some of the judged criteria.
    verifiers: by the name of the criterion.
    max_sample_chars: a longer response is not verified.
    """

    def __init__(
        self,
        rubric: Rubric,
        *,
        panels: Sequence[Handler[Sample, Reward]],
        verifiers: Mapping[str, Verify],
        max_sample_chars: int,
    ) -> None:
        self._rubric = rubric
        self._rewards = Rewards(rubric, _free)
        self._panels = tuple(panels)
        self._verifiers = dict(verifiers)
        self._outright = Outright(rubric, self._rewards, max_chars=max_sample_chars)
        self._scored = self._shaped = 0
        self._unscored: Counter[str] = Counter()

    def __repr__(self) -> str:
        rubric = self._rubric
        return (
            f"<Blend {rubric.name} {rubric.version}, {rubric.aggregation} of {len(rubric.criteria)}"
            f" criteria, {len(self._verifiers)} verified, judge calls {len(self._panels)}>"
        )

    def layers(self) -> list[str]:
        """A line for the blend, and one for each of its panels and verifiers."""
        verified = [f"  {name}: {verifier!r}" for name, verifier in self._verifiers.items()]
        return [repr(self), *(f"  {panel!r}" for panel in self._panels), *verified]

    def statistics(self) -> BlendStatistics:
        """A copy of the counts."""
        return BlendStatistics(
            graded=self._scored + self._unscored.total(),
            scored=self._scored,
            shaped=self._shaped,
            unscored=dict(self._unscored),
        )

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises nothing but `asyncio.CancelledError`."""
        reward = self._needless(request.body)
        if reward is None:
            judged, found = await self._ask(request)
            reward = self._shape(self._combine(judged, found), request.body.response or "")
        if reward.reason is None:
            self._scored += 1
        else:
            self._unscored[reward.reason] += 1
        return reward

    def _needless(self, sample: Sample) -> Reward | None:
        """The reward of a sample that needs no grading or cannot be graded; `None` for all others."""
        response = sample.response or ""
        return self._outright.decide(sample, response, len(response), Spent())

    async def _ask(self, request: Request[Sample]) -> tuple[list[Reward], dict[str, Found]]:
        if len(self._verifiers) == 1 and not self._panels:  # a task would cost more than the check
            ((name, verify),) = self._verifiers.items()
            return [], {name: await check(name, verify, request)}
        async with asyncio.TaskGroup() as tasks:
            judged = [tasks.create_task(_run(panel, request)) for panel in self._panels]
            found = {
                name: tasks.create_task(check(name, verify, request))
                for name, verify in self._verifiers.items()
            }
        return [task.result() for task in judged], {n: task.result() for n, task in found.items()}

    def _combine(self, judged: Sequence[Reward], found: Mapping[str, Found]) -> Reward:
        reward = self._rewards.of(_verdict(judged, found), Spent())
        silent = [one.detail for one in (*judged, *found.values()) if one.score is None]
        told = dict.fromkeys(one.detail for one in judged if one.detail)
        return replace(
            reward,
            detail=next(filter(None, silent), "") if reward.score is None else "; ".join(told),
            usage=sum((one.usage for one in judged), NO_USAGE),
            cost_usd=_total([one.cost_usd for one in judged]),
            model=", ".join(dict.fromkeys(one.model for one in judged if one.model)),
            cached=bool(judged) and all(one.cached for one in judged),
            channel=", ".join(dict.fromkeys(one.channel for one in judged if one.channel)),
        )

    def _shape(self, reward: Reward, response: str) -> Reward:
        factors = self._rubric.shaping.factors(response)
        score = reward.score
        if not factors or score is None:
            return reward
        for factor in factors.values():
            score *= factor
        self._shaped += score < (reward.score or 0.0)
        return replace(reward, score=score, metrics=factors)


def _verdict(judged: Sequence[Reward], found: Mapping[str, Found]) -> Verdict:
    """The scores of all panels and verifiers, by criterion."""
    scores: dict[str, float] = {}
    reasons: dict[str, str] = {}
    parts = {part.name: part for reward in judged for part in reward.parts}
    said: dict[str, Part | Found] = {**parts, **found}
    for name, one in said.items():
        if one.score is None:
            reasons[name] = one.reason or "grader_error"
        else:
            scores[name] = one.score
    off_menu = {n: part.off_menu for n, part in parts.items() if part.off_menu is not None}
    return Verdict(scores, reasons, off_menu, _explanation(judged))


def _explanation(judged: Sequence[Reward]) -> str:
    """The judges' reasons; with several judges each follows the names of its criteria."""
    if len(judged) == 1:
        return judged[0].explanation
    return told_by(
        (", ".join([part.name for part in one.parts]), one.explanation) for one in judged
    )


async def check(name: str, verify: Verify, request: Request[Sample]) -> Found:
    """The verifier's result if it is a valid score before the deadline, else the reason why there is none."""
    limit = asyncio.timeout_at(request.deadline if request.deadline < inf else None)
    try:
        async with limit:
            found = await verify(request.body)
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and stray(error) is None:
            raise
        if limit.expired():
            return Missing("deadline", f"there was no time left to verify {name}")
        # only the error's name, because its text may contain the candidate's
        return Missing("grader_error", f"the verifier of {name} failed with {type(error).__name__}")
    if found.score is None or 0.0 <= found.score <= 1.0:
        return found
    return Missing("grader_error", f"the verifier of {name} gave no number from 0 to 1")


async def _run(panel: Handler[Sample, Reward], request: Request[Sample]) -> Reward:
    return await panel(request)


def _total(costs: Sequence[float | None]) -> float | None:
    known = [cost for cost in costs if cost is not None]
    return sum(known) if len(known) == len(costs) else None


def _free(_usage: Usage) -> float:
    return 0.0
