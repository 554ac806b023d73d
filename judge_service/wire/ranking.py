"""The reply of a ranking: a score and a rank for each of several responses to one prompt."""

from msgspec import Struct
from msgspec.structs import asdict

from judge_service.values import Ranking
from judge_service.wire.native import (
    NativeBatch,
    NativeReward,
    NativeTotals,
    ScoreRange,
    native_reward,
    native_totals,
)


class RankedReward(NativeReward, frozen=True, kw_only=True):
    """A reward and its rank among the responses of its prompt.

    rank: 1 for the best; equal scores share a rank; null when the response was not judged.
    """

    rank: int | None


class RankReply(Struct, frozen=True, kw_only=True):
    """One reward per sample, in the order sent.

    compared: whether the judge saw the responses together; false when each was scored alone.
    orders: in how many orders, 2 at best, the judge gave a whole verdict; 0 when not compared.
    consistency: share of the pairs that both orders rank the same way, null without both orders.
    """

    rewards: list[RankedReward]
    compared: bool
    orders: int
    consistency: float | None
    totals: NativeTotals


def rank_reply(batch: NativeBatch, ranking: Ranking, score_range: ScoreRange) -> RankReply:
    """Makes the whole reply."""
    rows = zip(batch.samples, ranking.rewards, ranking.ranks, strict=True)
    return RankReply(
        rewards=[
            RankedReward(
                **asdict(native_reward(sample, reward, score_range, reasons=batch.reasons)),
                rank=rank,
            )
            for sample, reward, rank in rows
        ],
        compared=ranking.compared,
        orders=ranking.orders,
        consistency=ranking.consistency,
        totals=native_totals(ranking.rewards),
    )
