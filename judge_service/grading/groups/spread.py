"""Measures the spread of a group's rewards: a group-relative trainer learns nothing from equal ones."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from judge_service.values import Reward, Sample

ROUNDING = 1e-9
"""Rewards that differ by at most this are equal."""


class Spread(Struct, frozen=True):
    """Number of scored samples of one group, and the difference of the best and the worst score."""

    size: int
    spread: float

    @property
    def is_flat(self) -> bool:
        """Whether all rewards are equal."""
        return self.spread <= ROUNDING


def spreads(samples: Sequence[Sample], rewards: Sequence[Reward]) -> Iterator[Spread]:
    """The spread of each group of a batch that has at least two scored samples.

    Samples without a group key belong to no group.
    """
    groups: dict[str, list[float]] = {}
    for sample, reward in zip(samples, rewards, strict=True):
        if sample.group_key and reward.score is not None:
            groups.setdefault(sample.group_key, []).append(reward.score)
    for scores in groups.values():
        if len(scores) > 1:
            yield Spread(len(scores), max(scores) - min(scores))
