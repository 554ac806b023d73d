"""Counts of events. There is one object for each two seconds and one for all time; counts can be added.

They are plain numbers in plain containers, because every evaluation updates them; the counters of the
Prometheus client take a lock each (docs/decisions/0013).
"""

from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field

from judge_service.telemetry.events import (
    ALARMS,
    FINDINGS,
    AlarmChanged,
    BreakerChanged,
    CacheLooked,
    CallEnded,
    ChannelChanged,
    Event,
    FailedOver,
    GroupScored,
    GuardFired,
    Hedged,
    RequestChanged,
    Retried,
    SampleGraded,
)
from judge_service.values import UNSCORED_REASONS, Reward

BOUNDS_S = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
)
"""Upper bounds of the buckets of durations, seconds; one more bucket is above them."""

BOUNDS_SCORE = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Upper bounds of the buckets of scores. The first bucket holds exact zeros."""

COUNTED: Mapping[type[Any], tuple[str, Callable[[Any], str]]] = {
    CacheLooked: ("cache", lambda event: "hit" if event.hit else "miss"),
    Retried: ("retries", lambda event: event.reason),
    FailedOver: ("failovers", lambda event: event.reason),
    Hedged: ("hedges", lambda event: "won" if event.won else "lost"),
    BreakerChanged: ("breaker", lambda event: event.state),
    GroupScored: ("groups", lambda event: "zero" if event.is_flat else "some"),
    ChannelChanged: ("adaptations", lambda event: event.now),
    RequestChanged: ("adaptations", lambda _event: "request"),
    GuardFired: ("guards", lambda event: event.guard),
    AlarmChanged: ("alarms", lambda event: event.alarm if event.is_raised else "taken_back"),
}
"""Events that are only counted: the field of `Counters`, and the key in it."""

WORDS = frozenset(UNSCORED_REASONS).union(FINDINGS, ALARMS) | {
    *(
        "ok",
        "scored",
        "cancelled",
        "hit",
        "miss",
        "won",
        "lost",
        "closed",
        "open",
        "half_open",
        "taken_back",
        "zero",
        "some",
        "schema",
        "tool",
        "text",
        "request",
    )
}
OTHER = "other"
"""The name under which all names beyond the maximum are counted."""

MAX_NAMES = 40
"""Most criteria (a rubric has 20 at most) and targets with a count of their own."""


class Names:
    """A bounded set of names: the first ones are kept for the life of the process, later ones are `other`."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def __repr__(self) -> str:
        return f"<Names {len(self._known)} of {MAX_NAMES}>"

    def admit(self, name: str) -> str:
        if name in self._known:
            return name
        if len(self._known) == MAX_NAMES:
            return OTHER
        self._known.add(name)
        return name


class Histogram(Struct):
    """How often values fell into each bucket, and their sum."""

    counts: list[int]
    total: float = 0.0

    def note(self, value: float, bounds: tuple[float, ...]) -> None:
        self.counts[bisect_left(bounds, value)] += 1
        self.total += value


def _durations() -> Histogram:
    return Histogram([0] * (len(BOUNDS_S) + 1))


def _scores() -> Histogram:
    return Histogram([0] * (len(BOUNDS_SCORE) + 1))


class CallCounters(Struct):
    """Attempts at one target. outcomes: by word. throttled: refused by the quota.

    queue_s, backend_s: of sent attempts only. An attempt that is refused at once, because its turn would
    come too late, would make a long queue look short.
    """

    outcomes: dict[str, int] = field(default_factory=dict)
    throttled: int = 0
    queue_s: Histogram = field(default_factory=_durations)
    backend_s: Histogram = field(default_factory=_durations)


class Counters(Struct):
    """Counts of samples, calls and other events.

    samples: by `scored` or the reason of a missing score. rewards: scores in [0, 1]. criteria: the scores
        of each criterion.
    cost_usd: of the `priced` samples, whose price is known.
    cache: `hit` and `miss`. retries, failovers: by reason. hedges: second copies, `won` and `lost`.
    breaker: changes by the state that was entered.
    groups: batches of one prompt's samples, by whether their rewards have `some` variance or `zero`.
    adaptations: lasting changes of how the judge is asked: the channel that is used now, or `request`.
    guards: samples by what was found in them. alarms: raised ones by name, and `taken_back`.
    """

    samples: dict[str, int] = field(default_factory=dict)
    duration_s: Histogram = field(default_factory=_durations)
    rewards: Histogram = field(default_factory=_scores)
    criteria: dict[str, Histogram] = field(default_factory=dict)
    calls: dict[str, CallCounters] = field(default_factory=dict)
    retries: dict[str, int] = field(default_factory=dict)
    failovers: dict[str, int] = field(default_factory=dict)
    hedges: dict[str, int] = field(default_factory=dict)
    cache: dict[str, int] = field(default_factory=dict)
    breaker: dict[str, int] = field(default_factory=dict)
    groups: dict[str, int] = field(default_factory=dict)
    adaptations: dict[str, int] = field(default_factory=dict)
    guards: dict[str, int] = field(default_factory=dict)
    alarms: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    cost_usd: float = 0.0
    priced: int = 0

    def graded(self, event: SampleGraded, names: Names) -> None:
        """Counts a graded sample. names: criteria with a count of their own."""
        reward: Reward = event.reward
        usage = reward.usage
        self.duration_s.note(event.duration_s, BOUNDS_S)
        self.input_tokens += usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        self.output_tokens += usage.output_tokens
        self.cache_read_tokens += usage.cache_read_tokens
        self.cache_write_tokens += usage.cache_write_tokens
        if reward.cost_usd is not None:
            self.cost_usd += reward.cost_usd
            self.priced += 1
        if reward.score is None:
            _count(self.samples, _word(reward.reason))
            return
        _count(self.samples, "scored")
        self.rewards.note(reward.score, BOUNDS_SCORE)
        for part in reward.parts:
            if part.score is not None:
                seen = self.criteria.get(part.name)
                if seen is None:
                    seen = self.criteria.setdefault(names.admit(part.name), _scores())
                seen.note(part.score, BOUNDS_SCORE)

    def ended(self, event: CallEnded, names: Names) -> None:
        """Counts an attempt that ended. names: targets with a count of their own."""
        calls = self.calls.get(event.target)
        if calls is None:
            calls = self.calls.setdefault(names.admit(event.target), CallCounters())
        _count(calls.outcomes, _word(event.outcome))
        calls.throttled += event.throttled
        if event.was_sent:
            calls.queue_s.note(event.queue_s, BOUNDS_S)
            calls.backend_s.note(event.backend_s, BOUNDS_S)

    def count(self, event: Event) -> None:
        """Counts an event of a type in `COUNTED`."""
        name, word = COUNTED[type(event)]
        _count(getattr(self, name), _word(word(event)))


def _count(counts: dict[str, int], word: str) -> None:
    counts[word] = counts.get(word, 0) + 1


def _word(word: str | None) -> str:
    return word if word in WORDS else OTHER


def total(*parts: Any) -> Any:
    """The sum of several counters (histograms, counts by name, numbers), which are not changed."""
    first = parts[0]
    if isinstance(first, Struct):
        names = first.__struct_fields__
        return type(first)(
            **{name: total(*[getattr(part, name) for part in parts]) for name in names}
        )
    if isinstance(first, dict):
        keys = dict.fromkeys(key for part in parts for key in part)
        return {key: total(*[part[key] for part in parts if key in part]) for key in keys}
    if isinstance(first, list):
        return [sum(column) for column in zip(*parts, strict=True)]
    return sum(parts)
