"""Monitors that detect reward hacking and changes of the judge, from rolling sums with alarms.

They are pure, and each keeps a bounded number of numbers and no text. They report and never change a score:
a policy would learn to game a monitor that is a part of the reward.
"""

from collections import OrderedDict, deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from math import fsum

from msgspec import Struct

from judge_service.telemetry.events import ALARMS, AlarmChanged
from judge_service.values import Part, Reward

DRIFT, GENEROUS, LONGER = ALARMS

BACK = 0.8
"""A raised alarm is cleared below this share of its limit (hysteresis, so that it does not flap)."""


class Alarm:
    """An alarm: raised above `limit`, cleared at or below `BACK` times `limit`.

    For example, with a limit of 0.3 the values 0.31, 0.28, 0.24 and 0.28 raise it, keep it, clear it and keep
    it cleared.
    """

    def __init__(self, name: str, limit: float) -> None:
        self.name = name
        self.limit = limit
        self.is_raised = False

    def __repr__(self) -> str:
        return (
            f"<Alarm {self.name} {'raised' if self.is_raised else 'quiet'}, limit {self.limit:g}>"
        )

    def see(self, value: float) -> AlarmChanged | None:
        """Takes a new value. Returns the event if the alarm was raised or cleared, else `None`."""
        bound = self.limit * BACK if self.is_raised else self.limit
        if (value > bound) == self.is_raised:
            return None
        self.is_raised = not self.is_raised
        return AlarmChanged(
            alarm=self.name, is_raised=self.is_raised, value=value, limit=self.limit
        )


class Drift:
    """The mean distance of the judge's scores from the known scores of the last canaries, [0, 1]."""

    KEPT = 40
    MIN = 8
    """Fewest canaries for a value: with fewer, one wrong canary could raise the alarm."""

    def __init__(self) -> None:
        self._errors: deque[float] = deque(maxlen=self.KEPT)

    def note(self, *, score: float, expected: float) -> float:
        self._errors.append(abs(score - expected))
        return self.value

    @property
    def value(self) -> float:
        return _mean(self._errors) if len(self._errors) >= self.MIN else 0.0


class Disagreement:
    """The mean difference of judged and verified criteria, of all samples and of each group.

    Over the last `KEPT` samples, in [-1, 1]; above 0 the judge scores higher than the verifiers.
    """

    KEPT = 512
    MIN = 64
    LIMIT = 0.3
    """About the increase of wrong answers that a judge accepts when a policy has learned to game it."""

    GROUPS = 1024
    APART = 0.5
    MIN_OF_GROUP = 4

    def __init__(self) -> None:
        self._gaps: deque[float] = deque(maxlen=self.KEPT)
        self._sum = 0.0
        self._groups: OrderedDict[int, tuple[int, float]] = OrderedDict()

    def note(self, group_key: str, gap: float) -> float:
        if len(self._gaps) == self.KEPT:
            self._sum -= self._gaps[0]
        self._gaps.append(gap)
        self._sum += gap
        if group_key:
            self._note_group(hash(group_key), gap)
        return self.value

    @property
    def value(self) -> float:
        return self._sum / len(self._gaps) if len(self._gaps) >= self.MIN else 0.0

    @property
    def groups(self) -> int:
        """Number of groups in memory: at most the last `GROUPS` that had a sample."""
        return len(self._groups)

    @property
    def groups_apart(self) -> int:
        """Number of groups in which judge and verifiers differ by more than `APART` in the mean."""
        return sum(
            count >= self.MIN_OF_GROUP and abs(total / count) > self.APART
            for count, total in self._groups.values()
        )

    def _note_group(self, key: int, gap: float) -> None:
        count, total = self._groups.pop(key, (0, 0.0))
        self._groups[key] = (count + 1, total + gap)
        if len(self._groups) > self.GROUPS:
            self._groups.popitem(last=False)


class LengthTrend:
    """The relative growth of responses whose rewards grow with their length; 0 if they do not.

    It computes the mean reward and the mean length of each block of `BLOCK` samples, and a straight line
    through each over the last `BLOCKS` blocks. Both must rise, with a correlation of at least `TOGETHER`.

    For example, the mean length rises along its line from 400 to 520 characters, the mean reward from 0.5 to
    0.6, and both are correlated by 0.9. The trend is 120 / 400 = 0.3.
    """

    BLOCK = 64
    BLOCKS = 32
    MIN_BLOCKS = 8
    MIN_GAIN = 0.02
    TOGETHER = 0.6
    LIMIT = 0.3

    def __init__(self) -> None:
        self._blocks: deque[tuple[float, float]] = deque(maxlen=self.BLOCKS)
        self._count = 0
        self._reward = self._chars = 0.0

    def note(self, *, score: float, chars: int) -> float | None:
        """Takes a sample. Returns the trend when a block is full, else `None`."""
        self._count += 1
        self._reward += score
        self._chars += chars
        if self._count < self.BLOCK:
            return None
        self._blocks.append((self._reward / self.BLOCK, self._chars / self.BLOCK))
        self._count, self._reward, self._chars = 0, 0.0, 0.0
        return self.value

    @property
    def value(self) -> float:
        if len(self._blocks) < self.MIN_BLOCKS:
            return 0.0
        rewards, lengths = zip(*self._blocks, strict=True)
        gain, growth = rise(rewards), rise(lengths)
        if gain < self.MIN_GAIN or correlation(rewards, lengths) < self.TOGETHER:
            return 0.0
        start = _mean(lengths) - growth / 2
        return max(growth, 0.0) / max(start, 1.0)


def _mean(values: Collection[float]) -> float:
    """The mean; without `statistics.fmean`, whose import would slow a cold start."""
    return fsum(values) / len(values)


def rise(values: Sequence[float]) -> float:
    """The rise of the regression line through equally spaced values, from the first to the last."""
    middle = (len(values) - 1) / 2
    slope = sum((at - middle) * value for at, value in enumerate(values)) / sum(
        (at - middle) ** 2 for at in range(len(values))
    )
    return slope * (len(values) - 1)


def correlation(one: Sequence[float], other: Sequence[float]) -> float:
    """Pearson's correlation, in [-1, 1]; 0 if one of the series is constant."""
    mean_one, mean_other = _mean(one), _mean(other)
    shared = sum((a - mean_one) * (b - mean_other) for a, b in zip(one, other, strict=True))
    square_one = sum((a - mean_one) ** 2 for a in one)
    square_other = sum((b - mean_other) ** 2 for b in other)
    spread = (square_one * square_other) ** 0.5
    return shared / spread if spread > 0 else 0.0


def mean_of(parts: Iterable[Part], kind: str) -> float | None:
    """The weighted mean of the criteria of one kind (`judge`, `verify`); `None` without any."""
    rows = [
        (one.score, one.weight)
        for one in parts
        if one.kind == kind and one.score is not None and one.weight > 0  # custom graders' have 0
    ]
    if not rows:
        return None
    return sum(score * weight for score, weight in rows) / sum(weight for _, weight in rows)


class MonitorsStatistics(Struct, frozen=True, kw_only=True):
    """values: the present value of each alarm. raised: the raised alarms.

    groups: prompts whose judge and verifiers are compared; groups_apart: those where they disagree.
    """

    values: Mapping[str, float]
    raised: tuple[str, ...]
    groups: int
    groups_apart: int


class Monitors:
    """All monitors. Each `note` method returns the changed alarms.

    max_error: limit of the judge's error on canaries, see `canaries.max_error`.
    """

    def __init__(self, *, max_error: float) -> None:
        self._drift = Drift()
        self._disagreement = Disagreement()
        self._trend = LengthTrend()
        self._alarms = {
            DRIFT: Alarm(DRIFT, max_error),
            GENEROUS: Alarm(GENEROUS, Disagreement.LIMIT),
            LONGER: Alarm(LONGER, LengthTrend.LIMIT),
        }

    def __repr__(self) -> str:
        return f"<Monitors {', '.join(map(repr, self._alarms.values()))}>"

    def statistics(self) -> MonitorsStatistics:
        return MonitorsStatistics(
            values={
                DRIFT: self._drift.value,
                GENEROUS: self._disagreement.value,
                LONGER: self._trend.value,
            },
            raised=tuple(name for name, alarm in self._alarms.items() if alarm.is_raised),
            groups=self._disagreement.groups,
            groups_apart=self._disagreement.groups_apart,
        )

    def note_reward(self, reward: Reward, *, group_key: str, chars: int) -> Iterator[AlarmChanged]:
        """Notes the reward of a sample. chars: length of its response."""
        if reward.score is None:
            return
        verified = mean_of(reward.parts, "verify")  # first, because few rubrics have verifiers
        judged = None if verified is None else mean_of(reward.parts, "judge")
        if judged is not None and verified is not None:
            yield from self._see(GENEROUS, self._disagreement.note(group_key, judged - verified))
        trend = self._trend.note(score=reward.score, chars=chars)
        if trend is not None:
            yield from self._see(LONGER, trend)

    def note_canary(self, *, score: float, expected: float) -> Iterator[AlarmChanged]:
        """Notes the judge's score of a canary."""
        yield from self._see(DRIFT, self._drift.note(score=score, expected=expected))

    def _see(self, name: str, value: float) -> Iterator[AlarmChanged]:
        changed = self._alarms[name].see(value)
        if changed is not None:
            yield changed
