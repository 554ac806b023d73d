"""Makes answers of rewards. Only here a row that was not judged gets a substitute score."""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from math import fsum
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from judge_service.errors import SettingsError, TooManyUnscored
from judge_service.values import INPUT_REASONS, UNSCORED_REASONS, Reward, Sample
from judge_service.wire.means import Means, means_of
from judge_service.wire.replies import Answer, Metric
from judge_service.wire.unread import explain_missing_task, explain_unread

logger = logging.getLogger("judge_service")

Late = Literal["count", "answer", "fail"]
"""How to treat rows that the deadline left unjudged: they count as failed judgements; or they get a
substitute, unless no row was judged; or any of them fails the batch."""

SCORE = ""
"""Name of the score's column; the other columns have the names of the criteria."""

UNREAD_REASONS = INPUT_REASONS - {"abstained"}
"""Reasons of rows that hold too little to judge."""

MIDDLE = 0.5
"""Substitute when this process has scored nothing yet."""

ROUNDING = 1e-9
"""Tolerance for rounding: a score further outside [0, 1] means that the grader is broken."""

ADVICE = {
    "unparseable": "try another `answer` channel or another judge",
    "truncated": "raise the rubric's max_output_tokens",
    "refused": "reword the rubric or take another judge",
    "too_long": "send shorter rollouts or take a judge with a larger context",
    "cannot_judge": "choose a `backend` that can judge every criterion of the rubric",
    "deadline": "raise `deadline_s`, or send smaller batches",
    "throttled": "send less at once, or raise the judge's quota and `limits`",
    "quota_exhausted": "wait until the daily quota is renewed, or raise it",
    "unavailable": "send the batch again, and run `judge check` if it stays so",
    "denied": "run `judge check`",
    "interrupted": "send the batch again",
    "grader_error": "look into the log of the service",
}
"""Advice for each reason of a failed judgement."""


class ReplyPolicyStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the start.

    remembered: group means kept, one per group and column (the score and each criterion).
    """

    answered: int
    substituted: int
    refused_batches: int
    remembered: int


class ReplyPolicy:
    """Gives every row one finite number, in order, its id as sent.

    A row that was not judged gets, by `policy`:

    * `group_mean`: the mean of the scored rows of its group in the batch; else the group's mean that this
      process has kept; else the mean of the batch; else the mean of all scores of this process; else the
      middle of the range. In a group-relative algorithm its advantage is then about zero. Earlier scores are
      kept separately for each tenant.
    * `value:x`: x, which is in the wire range.
    * `fail`: nothing; one failed judgement fails the batch. Rows that no judge could judge
      (`values.INPUT_REASONS`) are not failed judgements and get the group mean.

    The same rule applies to each criterion without a score.

    max_fraction: above this share of failed judgements the batch fails with TooManyUnscored.
    memory_s: how long a group's mean is kept after its last scored row, seconds.
    score_range: range of all scores in answers; `-1..1` maps s to 2 s - 1.
    now: clock, seconds.
    """

    def __init__(
        self,
        *,
        policy: str = "group_mean",
        max_fraction: float = 0.25,
        memory_s: float = 600.0,
        score_range: Literal["0..1", "-1..1"] = "0..1",
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._max_fraction = 0.0 if policy == "fail" else max_fraction
        self._low = -1.0 if score_range == "-1..1" else 0.0
        self._value = self._read_value(policy)
        self._means = Means(memory_s=memory_s, now=now)
        self._answered = self._substituted = self._refused_batches = 0
        self._warned_unread = self._warned_task = False

    def __repr__(self) -> str:
        return f"<ReplyPolicy {self._policy} {self._low:g}..1, {self.statistics()}>"

    def statistics(self) -> ReplyPolicyStatistics:
        return ReplyPolicyStatistics(
            answered=self._answered,
            substituted=self._substituted,
            refused_batches=self._refused_batches,
            remembered=len(self._means),
        )

    def answer(
        self,
        samples: Sequence[Sample],
        rewards: Sequence[Reward],
        late: Late = "count",
        *,
        refuse: bool = True,
        tenant: str = "",
    ) -> list[Answer]:
        """One answer per sample, in order; all carry the same metrics in the same order.

        late: how to treat rows without a score for the reason `deadline`, see `Late`. The policy `fail`
            has no substitute, so late rows count as failed even with `answer`.
        refuse: `False` for a caller that cannot handle an error: every row without a score gets a
            substitute (with the policy `fail` the group mean), however many there are.
        tenant: the owner of the rows. Their substitutes are means of this tenant's scores only.

        Raises TooManyUnscored, with counts, the most frequent reason and advice.
        """
        rewards = [_checked(reward) for reward in rewards]
        groups = [sample.group_key for sample in samples]
        names = list(dict.fromkeys(part.name for reward in rewards for part in reward.parts))
        parts = [{part.name: part.score for part in reward.parts} for reward in rewards]
        columns = {SCORE: [reward.score for reward in rewards]}
        columns |= {name: [_sound(row.get(name)) for row in parts] for name in names}
        for name, scores in columns.items():
            self._means.add(name, zip(groups, scores, strict=True), tenant)
        metrics = _metrics(rewards)
        self._warn_of_unread(samples, rewards)
        if refuse:
            self._refuse_too_many(rewards, late)
        filled = [self._fill(name, groups, scores, tenant) for name, scores in columns.items()]
        self._answered += len(rewards)
        self._substituted += sum(reward.score is None for reward in rewards)
        rows = zip(samples, rewards, zip(*filled, strict=True), metrics, strict=True)
        return [_answer(sample, reward, names, row, more) for sample, reward, row, more in rows]

    def _warn_of_unread(self, samples: Sequence[Sample], rewards: Sequence[Reward]) -> None:
        """Warns once if rows lack their task, and if no row of a batch could be judged for its input.

        The caller builds its rows wrongly then. A batch of one row without a response says too little: AWS's
        pre-flight sends such rows.
        """
        if not self._warned_task and (said := explain_missing_task(samples[:1])):
            self._warned_task = True
            logger.warning("%s", said)
        reasons = {reward.reason for reward in rewards}
        if self._warned_unread or len(rewards) < 2 or not reasons <= UNREAD_REASONS:
            return
        self._warned_unread = True
        logger.warning(
            "none of a batch of %d rows could be judged because of its input, and all get a substitute,"
            " from which nothing can be learned; %s",
            len(rewards),
            explain_unread(str(rewards[0].reason), samples),
        )

    def _read_value(self, policy: str) -> float | None:
        if not policy.startswith("value:"):
            return None
        value = float(policy.removeprefix("value:"))
        if not self._low <= value <= 1.0:
            raise SettingsError(f"`unscored.policy`: {value:g} is outside {self._low:g}..1")
        return value

    def _refuse_too_many(self, rewards: Sequence[Reward], late: Late) -> None:
        failed = [r for r in rewards if r.score is None and r.reason not in INPUT_REASONS]
        cut_off = [r for r in failed if r.reason == "deadline"]
        counted, allowed = failed, self._max_fraction
        if late == "fail" and cut_off:
            counted, allowed = cut_off, 0.0
        elif late == "answer" and self._policy != "fail" and _any_scored(rewards):
            counted = [r for r in failed if r.reason != "deadline"]
        if len(counted) > allowed * len(rewards):
            self._refused_batches += 1
            raise TooManyUnscored(_complaint(counted, len(rewards), allowed))

    def _fill(
        self, name: str, groups: Sequence[str], scores: Sequence[float | None], tenant: str
    ) -> list[float]:
        """The column in the wire range, with a number in every place."""
        if None not in scores:
            return [self._on_wire(score) for score in scores if score is not None]
        substitute = self._substitutes(name, groups, scores, tenant)
        return [
            substitute(group) if score is None else self._on_wire(score)
            for group, score in zip(groups, scores, strict=True)
        ]

    def _substitutes(
        self, name: str, groups: Sequence[str], scores: Sequence[float | None], tenant: str
    ) -> Callable[[str], float]:
        if self._value is not None:
            value = self._value
            return lambda _group: value
        of_group = means_of(zip(groups, scores, strict=True))
        of_all = next(iter(means_of(("", score) for score in scores).values()), None)
        if of_all is None:
            of_all = self._means.of_process(name, tenant)

        def substitute(group: str) -> float:
            mean = of_group.get(group) if group else of_all
            if mean is None:
                mean = self._means.of_group(group, name, tenant)
            if mean is None:
                mean = of_all
            return self._on_wire(MIDDLE if mean is None else mean)

        return substitute

    def _on_wire(self, score: float) -> float:
        return self._low + (1.0 - self._low) * score


def _checked(reward: Reward) -> Reward:
    """The reward with a valid score: a number in [0, 1], or `None` with a reason."""
    score = _sound(reward.score)
    if score is not None:
        return reward if score == reward.score else replace(reward, score=score)
    if reward.score is None:
        return reward if reward.reason else replace(reward, reason="grader_error")
    detail = "the grader gave a score that is not a number from 0 to 1"
    return replace(reward, score=None, reason="grader_error", detail=detail)


def _any_scored(rewards: Sequence[Reward]) -> bool:
    return any(reward.score is not None for reward in rewards)


def _sound(score: float | None) -> float | None:
    if score is None or not -ROUNDING <= score <= 1.0 + ROUNDING:
        return None
    return min(max(float(score), 0.0), 1.0)


def _metrics(rewards: Sequence[Reward]) -> list[tuple[Metric, ...]]:
    """The metrics of each row: a row without a number gets the mean of the rows that have it."""
    names = dict.fromkeys(name for reward in rewards for name in reward.metrics)
    means = {}
    for name in names:
        known = [reward.metrics[name] for reward in rewards if name in reward.metrics]
        means[name] = fsum(known) / len(known)
    return [
        tuple(
            [Metric(name, reward.metrics.get(name, mean), "Metric") for name, mean in means.items()]
        )
        for reward in rewards
    ]


def _answer(
    sample: Sample,
    reward: Reward,
    names: Sequence[str],
    row: Sequence[float],
    more: Sequence[Metric],
) -> Answer:
    score, *values = row
    unscored = reward.score is None
    metrics = [Metric(name, value, "Reward") for name, value in zip(names, values, strict=True)]
    return Answer(
        id=sample.id,
        score=score,
        metrics=(*metrics, *more, Metric("unscored", float(unscored), "Metric")),
        unscored=unscored,
        reason=reward.reason if unscored else None,
        detail=reward.detail if unscored else "",
    )


def _complaint(failed: Sequence[Reward], total: int, max_fraction: float) -> str:
    ((reason, times),) = Counter(str(reward.reason) for reward in failed).most_common(1)
    details = (reward.detail for reward in failed if reward.reason == reason and reward.detail)
    detail = next(details, UNSCORED_REASONS.get(reason, "no more is known"))
    detail = " ".join(detail.split())[:600].rstrip(".")
    advice = ADVICE.get(reason, ADVICE["grader_error"])
    return (
        f"{len(failed)} of {total} rows could not be judged, more than the {max_fraction:.0%} of"
        f" `unscored.max_fraction`; most often `{reason}` ({times} times: {detail}); {advice}"
    )
