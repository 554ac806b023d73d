"""Computes the summary of a run: counts, means and distributions."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from judge_service.cli.journal import Journal
from judge_service.settings import Settings
from judge_service.telemetry.state import TargetState
from judge_service.values import INPUT_REASONS, NO_USAGE, Reward

BINS = 10


class RunFacts(Struct, frozen=True, kw_only=True):
    """Facts of one run. It judged `judged` of the `total` rows; the others were already in the journal.

    calls_sent, calls_refused: calls sent to the judge, and those of them that its quota refused.
    quota_used: the used share of each configured quota, by its resource; 1 is all of it.
    waited_s: seconds of `duration_s` in which the judge could not be asked, by reason.
    """

    total: int
    judged: int
    duration_s: float
    rubric: str
    judge: str
    score_range: Literal["0..1", "-1..1"] = "0..1"
    calls_sent: int = 0
    calls_refused: int = 0
    quota_used: Mapping[str, float] = {}
    waited_s: Mapping[str, float] = {}


def quota_facts(
    targets: Sequence[TargetState], duration_s: float, burst_s: float = 0.0
) -> dict[str, Any]:
    """The facts of a run from the state of its targets: calls sent and refused, and quota used.

    burst_s: seconds of quota that were there at the start; without them a run of a second seems to use more
        than all of it.
    """
    spent: dict[str, float] = {}
    allowed: dict[str, float] = {}
    for target in targets:
        for quota in target.quota:
            spent[quota.resource] = spent.get(quota.resource, 0.0) + quota.spent
            allowed[quota.resource] = allowed.get(quota.resource, 0.0) + quota.per_minute
    minutes = max(duration_s + burst_s, 1.0) / 60
    return {
        "calls_sent": sum(target.sent for target in targets),
        "calls_refused": sum(target.throttled for target in targets),
        "quota_used": {name: spent[name] / (amount * minutes) for name, amount in allowed.items()},
    }


class Spread(Struct, frozen=True, kw_only=True):
    """Statistics of the scores of one criterion, or of the whole reward, in [0, 1]; `None` without scores.

    sd: standard deviation of the population.
    """

    name: str
    scored: int
    unscored: int
    mean: float | None
    sd: float | None
    minimum: float | None
    maximum: float | None


class Summary(Struct, frozen=True, kw_only=True):
    """The summary. Counts are over the whole file, including rows of earlier runs, except `judged_now`.

    failed: unscored rows because of a failure to judge, not because of the input.
    unscored_reasons, unscored_examples: rows per reason, most frequent first, and the detail of the first
        row of each.
    histogram: rewards per tenth of [0, 1], the last one with 1.0 in it.
    groups: prompts with at least two scored rows.
    calls_sent, calls_refused, quota_used, waited_s: as in `RunFacts`, of this run.
    groups_without_variance: those whose rows all have the same reward; GRPO learns nothing from them.
    """

    output: str
    journal: str
    rubric: str
    judge: str
    score_range: str
    rows: int
    unscored: int
    failed: int
    unscored_reasons: dict[str, int]
    unscored_examples: dict[str, str]
    reward: Spread
    criteria: list[Spread]
    histogram: list[int]
    groups: int
    groups_without_variance: int
    judged_now: int
    kept: int
    duration_s: float
    evaluations_per_s: float
    judge_calls: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cost_usd: float | None
    calls_sent: int
    calls_refused: int
    quota_used: Mapping[str, float]
    waited_s: Mapping[str, float]


class ScoreCounts:
    """Computes mean and variance in one pass (Welford 1962)."""

    def __init__(self) -> None:
        self.scored = self.unscored = 0
        self._mean = self._squares = 0.0
        self._lowest, self._highest = math.inf, -math.inf

    def __repr__(self) -> str:
        return f"ScoreCounts(scored={self.scored}, unscored={self.unscored}, mean={self._mean:.4f})"

    def add(self, score: float | None) -> None:
        """Counts one score, or a missing score."""
        if score is None:
            self.unscored += 1
            return
        self.scored += 1
        before = score - self._mean
        self._mean += before / self.scored
        self._squares += before * (score - self._mean)
        self._lowest = min(self._lowest, score)
        self._highest = max(self._highest, score)

    def spread(self, name: str) -> Spread:
        """The statistics of the counted scores."""
        some = self.scored > 0
        return Spread(
            name=name,
            scored=self.scored,
            unscored=self.unscored,
            mean=self._mean if some else None,
            sd=math.sqrt(self._squares / self.scored) if some else None,
            minimum=self._lowest if some else None,
            maximum=self._highest if some else None,
        )


class RewardCounts:
    """All counts over rewards, in constant memory."""

    def __init__(self) -> None:
        self.reward = ScoreCounts()
        self.criteria: dict[str, ScoreCounts] = {}
        self.reasons: Counter[str] = Counter()
        self.examples: dict[str, str] = {}
        self.histogram = [0] * BINS
        self.usage = NO_USAGE
        self._cost_usd = 0.0
        self._unpriced = 0

    def __repr__(self) -> str:
        return f"RewardCounts({self.reward!r}, reasons={dict(self.reasons)})"

    def add(self, reward: Reward) -> None:
        """Counts one reward."""
        self.reward.add(reward.score)
        if reward.score is None:
            reason = reward.reason or "grader_error"
            self.reasons[reason] += 1
            self.examples.setdefault(reason, reward.detail)
        else:
            self.histogram[min(BINS - 1, int(reward.score * BINS))] += 1
        for part in reward.parts:
            self.criteria.setdefault(part.name, ScoreCounts()).add(part.score)
        self.usage += reward.usage
        self._cost_usd += reward.cost_usd or 0.0
        self._unpriced += reward.cost_usd is None and reward.usage.calls > 0

    def cost_usd(self) -> float | None:
        """US dollars; `None` when a call's price is not known."""
        return None if self._unpriced or not self.usage.calls else self._cost_usd


def summarise(journal: Journal, facts: RunFacts, output: Path, settings: Settings) -> Summary:
    """Computes the summary in one pass over the journal.

    Raises JudgeServiceError if a row has no result there.
    """
    counts = RewardCounts()
    for entry in journal.entries(facts.total):
        counts.add(entry.reward)
    groups, groups_without_variance = journal.groups(facts.total)
    usage = counts.usage
    return Summary(
        output=str(output),
        journal=str(journal.path),
        rubric=facts.rubric,
        judge=facts.judge,
        score_range=settings.wire.score_range,
        rows=facts.total,
        unscored=counts.reward.unscored,
        failed=sum(n for reason, n in counts.reasons.items() if reason not in INPUT_REASONS),
        unscored_reasons=dict(counts.reasons.most_common()),
        unscored_examples=counts.examples,
        reward=counts.reward.spread("reward"),
        criteria=[one.spread(name) for name, one in counts.criteria.items()],
        histogram=counts.histogram,
        groups=groups,
        groups_without_variance=groups_without_variance,
        judged_now=facts.judged,
        kept=facts.total - facts.judged,
        duration_s=facts.duration_s,
        waited_s=facts.waited_s,
        evaluations_per_s=facts.judged / facts.duration_s if facts.duration_s else 0.0,
        judge_calls=usage.calls,
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        cache_read_tokens=usage.cache_read_tokens,
        cost_usd=counts.cost_usd(),
        calls_sent=facts.calls_sent,
        calls_refused=facts.calls_refused,
        quota_used=facts.quota_used,
    )
