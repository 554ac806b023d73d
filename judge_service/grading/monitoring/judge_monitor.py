"""Guards, canaries and monitors together, as the service sees them."""

from msgspec import Struct

from judge_service.grading.monitoring.canaries import Canaries, CanariesStatistics, Canary
from judge_service.grading.monitoring.guards import Guards, GuardsStatistics
from judge_service.grading.monitoring.monitors import Monitors, MonitorsStatistics, mean_of
from judge_service.telemetry.events import CanaryGraded, Sink
from judge_service.values import Reward, Sample


class JudgeMonitorStatistics(Struct, frozen=True, kw_only=True):
    """Of its parts."""

    guards: GuardsStatistics
    canaries: CanariesStatistics
    monitors: MonitorsStatistics


class JudgeMonitor:
    """Tells what it sees of samples and rewards; changes nothing.

    is_monitoring: whether rewards are looked at, besides canaries and what guards find.
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

    def __repr__(self) -> str:
        return f"<JudgeMonitor {self.guards!r} {self.canaries!r}>"

    def statistics(self) -> JudgeMonitorStatistics:
        return JudgeMonitorStatistics(
            guards=self.guards.statistics(),
            canaries=self.canaries.statistics(),
            monitors=self._monitors.statistics(),
        )

    def note(self, sample: Sample, reward: Reward) -> None:
        """A sample has its reward."""
        if not self._is_monitoring:
            return
        chars = len(sample.response or "")
        for changed in self._monitors.note_reward(reward, group_key=sample.group_key, chars=chars):
            self._sink(changed)

    def note_canary(self, canary: Canary, rewards: list[Reward]) -> None:
        """A canary was judged, in as many calls as the rubric makes."""
        score = mean_of([part for reward in rewards for part in reward.parts], "judge")
        unscored = any(reward.score is None for reward in rewards)
        usage = sum((reward.usage for reward in rewards[1:]), rewards[0].usage)
        self._sink(
            CanaryGraded(score=None if unscored else score, expected=canary.expected, usage=usage)
        )
        if unscored or score is None:
            return  # a failure to judge is no drift, and is counted where it happened
        self.canaries.judged += 1
        for changed in self._monitors.note_canary(score=score, expected=canary.expected):
            self._sink(changed)
