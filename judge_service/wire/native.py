"""The native dialect: samples in, rewards out. A sample that was not judged has no score."""

from collections.abc import Iterable, Sequence
from typing import Any, Literal

from msgspec import UNSET, Struct, UnsetType

from judge_service.errors import WireError
from judge_service.values import NO_USAGE, Reward, Sample, Usage
from judge_service.wire.content import name_of
from judge_service.wire.jsontext import read_json
from judge_service.wire.native_rows import read_plain_batch
from judge_service.wire.rows import decode_row

FIELDS = ("samples", "reasons")

ScoreRange = Literal["0..1", "-1..1"]


class NativeBatch(Struct, frozen=True):
    """A request. reasons: whether each reward is wanted with its explanations."""

    samples: tuple[Sample, ...]
    reasons: bool = False


class NativeReward(Struct, frozen=True, kw_only=True):
    """One reward.

    id: as sent. score: finite, in the wire range; null when the sample was not judged.
    reason: why there is no score, a word of `UNSCORED_REASONS`; null when there is one.
    criteria: score by criterion, null where it was not judged.
    detail, criterion_reasons, model, cached, channel: present on request: a sentence for a person, the reason
        of each criterion without a score, the judge's name, whether a cached answer was used, and the form in
        which the judge answered.
    explanation: on request, where the rubric has `reasoning = "brief"`: the judge's written reason.
    metrics: other numbers of a custom grader. index: position in the request, in a stream.
    """

    id: Any
    score: float | None
    reason: str | None
    criteria: dict[str, float | None]
    detail: str | UnsetType = UNSET
    criterion_reasons: dict[str, str] | UnsetType = UNSET
    model: str | UnsetType = UNSET
    cached: bool | UnsetType = UNSET
    channel: str | UnsetType = UNSET
    explanation: str | UnsetType = UNSET
    metrics: dict[str, float] | UnsetType = UNSET
    index: int | UnsetType = UNSET


class NativeTotals(Struct, frozen=True, kw_only=True):
    """The cost of the batch. cost_usd: null when prices are not configured.

    cache_read_tokens, cache_write_tokens: of the input, what the judge read from its prompt cache and wrote
        to it; absent when both are 0.
    """

    rewards: int
    unscored: int
    input_tokens: int
    output_tokens: int
    calls: int
    cost_usd: float | None
    cache_read_tokens: int | UnsetType = UNSET
    cache_write_tokens: int | UnsetType = UNSET


class NativeReply(Struct, frozen=True, kw_only=True):
    """One reward per sample, in the order sent."""

    rewards: list[NativeReward]
    totals: NativeTotals


def decode_native_json(data: bytes) -> NativeBatch:
    """Reads a request as `decode_native` does, from JSON text whose size was checked before.

    Raises WireError, and nothing else.
    """
    plain = read_plain_batch(data)
    return NativeBatch(*plain) if plain else decode_native(read_json(data, max_bytes=len(data)))


def decode_native(body: Any) -> NativeBatch:
    """Reads `{"samples": [row, ...], "reasons": false}`; rows are in any form of docs/contracts.md.

    Raises WireError, and nothing else; it names the field that cannot be read. An unknown field is an
    error, because a user may believe that it chooses a model or a deadline.
    """
    if not isinstance(body, dict):
        raise WireError("$", f"must be an object with `samples`, not {name_of(body)}")
    for field in body:
        if field not in FIELDS:
            raise WireError(
                "$",
                f"has the field {field[:40]!a}; only `samples` and `reasons` are read, remove it",
            )
    rows = body.get("samples")
    if not isinstance(rows, list):
        raise WireError("$.samples", f"must be a list of samples, not {name_of(rows)}")
    reasons = body.get("reasons", False)
    if not isinstance(reasons, bool):
        raise WireError("$.reasons", f"must be true or false, not {name_of(reasons)}")
    return NativeBatch(
        tuple([decode_row(row, f"$.samples[{i}]") for i, row in enumerate(rows)]), reasons
    )


def native_reward(
    sample: Sample,
    reward: Reward,
    score_range: ScoreRange,
    *,
    reasons: bool,
    index: int | UnsetType = UNSET,
) -> NativeReward:
    """Makes a reward's record for the reply."""
    if score_range == "0..1":
        score, criteria = reward.score, {part.name: part.score for part in reward.parts}
    else:
        score = _on_wire(reward.score)
        criteria = {part.name: _on_wire(part.score) for part in reward.parts}
    metrics: Any = dict(reward.metrics) if reward.metrics else UNSET
    if not reasons:
        return NativeReward(
            id=sample.id,
            score=score,
            reason=reward.reason,
            criteria=criteria,
            metrics=metrics,
            index=index,
        )
    return NativeReward(
        id=sample.id,
        score=score,
        reason=reward.reason,
        criteria=criteria,
        metrics=metrics,
        detail=reward.detail,
        criterion_reasons={part.name: part.reason for part in reward.parts if part.reason},
        model=reward.model,
        cached=reward.cached,
        channel=reward.channel,
        explanation=reward.explanation or UNSET,
        index=index,
    )


def native_reply(
    batch: NativeBatch, rewards: Sequence[Reward], score_range: ScoreRange
) -> NativeReply:
    """Makes the whole reply."""
    return NativeReply(
        rewards=[
            native_reward(sample, reward, score_range, reasons=batch.reasons)
            for sample, reward in zip(batch.samples, rewards, strict=True)
        ],
        totals=native_totals(rewards),
    )


def native_totals(rewards: Iterable[Reward]) -> NativeTotals:
    """Sums the cost of rewards, which may come from an iterator."""
    count = unscored = 0
    usage: Usage = NO_USAGE
    cost_usd: float | None = 0.0
    for reward in rewards:
        count += 1
        unscored += reward.score is None
        if reward.usage is not NO_USAGE:
            usage += reward.usage
            known = cost_usd is not None and reward.cost_usd is not None
            cost_usd = cost_usd + reward.cost_usd if known else None  # type: ignore[operator]
    is_cached = usage.cache_read_tokens or usage.cache_write_tokens
    return NativeTotals(
        rewards=count,
        unscored=unscored,
        input_tokens=usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens,
        output_tokens=usage.output_tokens,
        calls=usage.calls,
        cost_usd=cost_usd,
        cache_read_tokens=usage.cache_read_tokens if is_cached else UNSET,
        cache_write_tokens=usage.cache_write_tokens if is_cached else UNSET,
    )


def _on_wire(score: float | None) -> float | None:
    """A score in [0, 1], or `None`, on the range -1..1."""
    return None if score is None else 2.0 * score - 1.0
