"""Combines guards, canaries and monitors into one object for the service."""

import logging

from msgspec import Struct

from judge_service.grading.monitoring.canaries import Canaries, CanariesStatistics, Canary
from judge_service.grading.monitoring.guards import Guards, GuardsStatistics
from judge_service.grading.monitoring.monitors import Monitors, MonitorsStatistics, mean_of
from judge_service.telemetry.events import CanaryGraded, Sink
from judge_service.values import Reward, Sample

MAX_TOLD = 20
"""Most different sentences that are logged."""

logger = logging.getLogger("judge_service")


class JudgeMonitorStatistics(Struct, frozen=True, kw_only=True):
    """Statistics of the guards, canaries and monitors."""

    guards: GuardsStatistics
    canaries: CanariesStatistics
    monitors: MonitorsStatistics


class JudgeMonitor:
    """Reports findings about samples and rewards as events; it changes no reward.

    is_monitoring: whether rewards are monitored, besides canaries and the findings of guards.
    """

    def __init__(
        self,
        *,
        guards: Guards,
        canaries: Canaries,
        monitors: Monitors,
        is_monitoring: bool,
        sink: Sink,
    ) -> None:
        self.guards = guards
        self.canaries = canaries
        self._monitors = monitors
        self._is_monitoring = is_monitoring
        self._sink = sink
        self._told: set[str] = set()

    def __repr__(self) -> str:
        return f"<JudgeMonitor {self.guards!r} {self.canaries!r}>"

    def statistics(self) -> JudgeMonitorStatistics:
        return JudgeMonitorStatistics(
            guards=self.guards.statistics(),
            canaries=self.canaries.statistics(),
            monitors=self._monitors.statistics(),
        )

    def note(self, sample: Sample, reward: Reward) -> None:
        """Notes the reward of a sample."""
        if reward.reason == "cannot_judge":
            self._tell_once(reward.detail)
        if not self._is_monitoring:
            return
        chars = len(sample.response or "")
        for changed in self._monitors.note_reward(reward, group_key=sample.group_key, chars=chars):
            self._sink(changed)

    def _tell_once(self, detail: str) -> None:
        """Logs once that rows have no score, and why, because nobody reads the `detail` of every reward."""
        if detail not in self._told and len(self._told) < MAX_TOLD:
            self._told.add(detail)
            logger.warning("rows have no score (cannot_judge): %s; this is said once", detail)

    def note_canary(self, canary: Canary, rewards: list[Reward]) -> None:
        """Notes the rewards of a canary, one for each judge call of the rubric."""
        score = mean_of([part for reward in rewards for part in reward.parts], "judge")
        unscored = any(reward.score is None for reward in rewards)
        usage = sum((reward.usage for reward in rewards[1:]), rewards[0].usage)
        self._sink(
            CanaryGraded(score=None if unscored else score, expected=canary.expected, usage=usage)
        )
        if unscored or score is None:
            return  # a failed judge call is not drift, and is counted elsewhere
        self.canaries.judged += 1
        for changed in self._monitors.note_canary(score=score, expected=canary.expected):
            self._sink(changed)
