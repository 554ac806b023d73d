"""Combines several opinions of the judge on one sample into one reward."""

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from statistics import fmean, median, pstdev
from typing import Literal, Protocol

from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import SettingsError
from judge_service.flow import Request
from judge_service.grading.aggregate import aggregate
from judge_service.grading.prompting.explanation import told_by
from judge_service.grading.rubric.rubric import Rubric
from judge_service.values import NO_USAGE, Reward, Sample, Verdict

Reduce = Literal["median", "mean"]

REDUCERS: dict[Reduce, Callable[[Sequence[float]], float]] = {"median": median, "mean": fmean}


class Opinionated(Protocol):
    """A grader that can give several opinions on a sample, such as `Grader` and `Pack`."""

    async def __call__(
        self, request: Request[Sample], /, *, draw: int = 0, draws: int = 1
    ) -> Reward: ...


class VoteStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the vote was made.

    voted: samples that got a reward. drawn: opinions requested. saved: opinions not requested, because
    they could not have changed the outcome. unscored: opinions without a score.
    mean_spread: standard deviation of the opinions on a sample, mean over the samples with two or more
    opinions; 0 without such samples. A large value means a noisy judge; at 0 votes have no effect.
    """

    voted: int
    drawn: int
    saved: int
    unscored: int
    mean_spread: float


class Ballots:
    """Combines the opinions on a sample into one reward, and counts them.

    rubric: its criteria are combined one by one; its weighted mean and its gates are applied after that.
    draws: most opinions on a sample, 2 or more.
    temperature: the temperature of the grader's calls. It is checked, because at 0 all opinions are equal.

    Raises SettingsError if the temperature is 0.
    """

    def __init__(
        self, *, rubric: Rubric, draws: int, reduce: Reduce, temperature: float | None
    ) -> None:
        if temperature == 0:
            raise SettingsError(
                f"`vote.draws` is {draws} but `temperature` is 0, so all opinions are equal; set"
                " `temperature` above 0 (1.0 is usual), or to `-` for a model that refuses it"
            )
        self._rubric = rubric
        self._draws = draws
        self._reduce: Reduce = reduce
        self._voted = self._drawn = self._unscored = self._compared = 0
        self._spread = 0.0

    def __repr__(self) -> str:
        return f"{self._reduce} of {self._draws}"

    def statistics(self) -> VoteStatistics:
        """A copy of the counts."""
        return VoteStatistics(
            voted=self._voted,
            drawn=self._drawn,
            saved=self._voted * self._draws - self._drawn,
            unscored=self._unscored,
            mean_spread=self._spread / max(self._compared, 1),
        )

    def combined(self, opinions: Sequence[Reward], *, least: int = 1) -> Reward:
        """The reward of all opinions. least: how many must have a score; with fewer the reward has none."""
        scored = scored_of(opinions)
        if len(scored) < least:
            return _totalled(_most_frequent(opinions), opinions)
        reduce = REDUCERS[self._reduce]
        names = [criterion.name for criterion in self._rubric.criteria]
        scores = {
            name: reduce(column) for name, column in zip(names, columns_of(scored), strict=True)
        }
        score, parts = aggregate(Verdict(scores, {}), self._rubric)
        said = _explanation(score or 0.0, opinions)
        return _totalled(replace(scored[0], score=score, parts=parts, explanation=said), opinions)

    def count(self, opinions: Sequence[Reward]) -> None:
        """Counts the opinions on one sample."""
        scores = [opinion.score for opinion in opinions if opinion.score is not None]
        self._voted += 1
        self._drawn += len(opinions)
        self._unscored += len(opinions) - len(scores)
        if len(scores) > 1:
            self._compared += 1
            self._spread += pstdev(scores)


class Vote:
    """A grader that asks for `draws` opinions and uses the median or the mean of each criterion.

    An opinion without a score is ignored if a majority of `draws` has a score; otherwise the sample has none,
    with the most frequent reason. The rubric's weighted mean and gates are applied after the vote, to the
    criteria's combined scores. Usage and cost are those of all opinions.

    The vote first requests a majority of the opinions, all at the same time. It requests the others, all at
    the same time, only if they can change the outcome. They cannot if no majority can have a score any more,
    or if the median is the same for any further opinions. With `mean` every opinion has an effect, so
    all are requested at the same time.

    For example, with five draws and the median, three opinions come first. If they are 0.8, 0.8 and 0.8,
    the median of five is 0.8 whatever the others are, so two calls are saved. If they are 0.6, 0.8 and 0.8,
    two more opinions of 0 would make it 0.6, so they are requested.

    grader: gives an opinion; each has its own `Prompt.draw`, so caches treat it as another question.
    draws: number of opinions, 2 or more; with an odd number the median is a score that the judge gave.
    temperature: see `Ballots`.

    Raises SettingsError if the temperature is 0.
    """

    def __init__(
        self,
        grader: Opinionated,
        *,
        rubric: Rubric,
        draws: int,
        reduce: Reduce,
        temperature: float | None,
    ) -> None:
        self._ballots = Ballots(rubric=rubric, draws=draws, reduce=reduce, temperature=temperature)
        self._grader = grader
        self._draws = draws
        self._majority = draws // 2 + 1
        self._reduce: Reduce = reduce

    def __repr__(self) -> str:
        return f"<Vote {self._ballots!r}>"

    def statistics(self) -> VoteStatistics:
        """A copy of the counts."""
        return self._ballots.statistics()

    async def __call__(self, request: Request[Sample]) -> Reward:
        """The reward of one sample. Raises what the grader raises."""
        first = self._majority if self._reduce == "median" else self._draws
        opinions = await self._ask(request, range(first))
        if first < self._draws and not self._is_settled(opinions):
            opinions += await self._ask(request, range(first, self._draws))
        self._ballots.count(opinions)
        return self._ballots.combined(opinions, least=self._majority)

    async def _ask(self, request: Request[Sample], numbers: Sequence[int]) -> list[Reward]:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._draw(request, number)) for number in numbers]
        return [task.result() for task in tasks]

    async def _draw(self, request: Request[Sample], number: int) -> Reward:
        return await self._grader(request, draw=number, draws=self._draws)

    def _is_settled(self, opinions: Sequence[Reward]) -> bool:
        """Whether the remaining opinions cannot change the outcome.

        A median changes most if all of them are at one end of the scale.
        """
        scored = scored_of(opinions)
        left = self._draws - len(opinions)
        if len(scored) + left < self._majority:
            return True
        if len(scored) < self._majority:
            return False
        return all(
            median([*scores, *[0.0] * left]) == median([*scores, *[1.0] * left])
            for scores in columns_of(scored)
        )


def scored_of(opinions: Sequence[Reward]) -> list[Reward]:
    """The opinions that have a score."""
    return [opinion for opinion in opinions if opinion.score is not None]


def columns_of(scored: Sequence[Reward]) -> list[list[float]]:
    """Per criterion, the scores of all opinions. A scored reward has a score in every part."""
    rows = [[part.score for part in opinion.parts if part.score is not None] for opinion in scored]
    return [list(column) for column in zip(*rows, strict=True)]


def _explanation(score: float, opinions: Sequence[Reward]) -> str:
    """The explanation of the opinion whose score is nearest to the combined score, with its number."""
    told = [
        (abs(one.score - score), number, one.score, one.explanation)
        for number, one in enumerate(opinions, 1)
        if one.score is not None and one.explanation
    ]
    if not told:
        return ""
    _, number, given, text = min(told)
    return told_by([(f"opinion {number} of {len(opinions)}: {given:.3g}", text)])


def _most_frequent(opinions: Sequence[Reward]) -> Reward:
    """The first opinion with the most frequent reason; of equally frequent reasons the first."""
    reasons = Counter(opinion.reason for opinion in opinions if opinion.reason is not None)
    reason, _ = reasons.most_common(1)[0]
    return next(opinion for opinion in opinions if opinion.reason == reason)


def _totalled(reward: Reward, opinions: Sequence[Reward]) -> Reward:
    """The reward with the cost of all opinions."""
    costs = [opinion.cost_usd for opinion in opinions]
    models = dict.fromkeys(opinion.model for opinion in opinions if opinion.model)
    return replace(
        reward,
        usage=sum((opinion.usage for opinion in opinions), NO_USAGE),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        model=", ".join(models),
        cached=all(opinion.cached for opinion in opinions),
        channel=", ".join(dict.fromkeys(one.channel for one in opinions if one.channel)),
    )
