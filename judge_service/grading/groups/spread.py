"""How far the rewards of a group lie apart: of equal ones a group-relative trainer learns nothing."""

from collections.abc import Iterator, Sequence

from msgspec import Struct

from judge_service.values import Reward, Sample

ROUNDING = 1e-9
"""Rewards no further apart are equal."""


class Spread(Struct, frozen=True):
    """Scored samples of one group, and the difference of the best and the worst of them."""

    size: int
    spread: float

    @property
    def is_flat(self) -> bool:
        """Whether all were rewarded alike."""
        return self.spread <= ROUNDING


def spreads(samples: Sequence[Sample], rewards: Sequence[Reward]) -> Iterator[Spread]:
    """Of each group in a batch with two scored samples or more; without a group key there is no group."""
    groups: dict[str, list[float]] = {}
    for sample, reward in zip(samples, rewards, strict=True):
        if sample.group_key and reward.score is not None:
            groups.setdefault(sample.group_key, []).append(reward.score)
    for scores in groups.values():
        if len(scores) > 1:
            yield Spread(len(scores), max(scores) - min(scores))
