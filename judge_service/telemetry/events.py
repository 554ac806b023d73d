"""The events of the service, immutable records. A sink is any `Callable[[Event], None]`.

Sinks are called on the event loop: they must not block and must not raise. All events give queue time
and backend time separately.
"""

import logging
from collections.abc import Callable
from typing import Any

from msgspec import Struct

logger = logging.getLogger("judge_service")


class CallEnded(Struct, frozen=True, kw_only=True):
    """One attempt at one target ended.

    outcome: `ok`, a word of `values.UNSCORED_REASONS`, or `cancelled`.
    queue_s: from entering the target's stack until bytes could leave: the wait in the gate, seconds.
    backend_s: from then until the reply was read, seconds.
    """

    target: str
    outcome: str
    queue_s: float
    backend_s: float
    throttled: bool = False

    @property
    def was_sent(self) -> bool:
        """Whether the request was sent."""
        return self.backend_s > 0 or self.outcome == "ok"


class Retried(Struct, frozen=True, kw_only=True):
    """An attempt failed, and the next one follows after `wait_s` seconds."""

    attempt: int
    wait_s: float
    reason: str
    throttled: bool


class CacheLooked(Struct, frozen=True, kw_only=True):
    """The cache was looked up."""

    hit: bool


class SampleGraded(Struct, frozen=True, kw_only=True):
    """One sample has its final reward (a `values.Reward`), `duration_s` after it arrived.

    rubric: its name and version, `similarity@0123456789abcdef`.
    response: the candidate's text, which is hostile and private; only for sinks that may see it.
    """

    id: Any
    reward: Any
    duration_s: float
    rubric: str = ""
    response: str | None = None


class GroupScored(Struct, frozen=True, kw_only=True):
    """The samples of one prompt in one batch have their rewards; two or more of them have a score.

    size: samples with a score. spread: best less worst score; at 0 a group-relative trainer learns nothing.
    """

    size: int
    spread: float
    is_flat: bool


class ChannelChanged(Struct, frozen=True, kw_only=True):
    """The judge refused or ignored an answer channel and answered in another, which is used from now on."""

    model: str
    refused: str
    now: str


class RequestChanged(Struct, frozen=True, kw_only=True):
    """The judge refused a part of the request and answered without it, as it is asked from now on.

    changes: all changes so far, such as `max_completion_tokens, no temperature`.
    """

    model: str
    changes: str


class StoreLost(Struct, frozen=True, kw_only=True):
    """The store of a shared quota does not answer; this process continues with its share of the quota.

    clients: how many shared the quota when it was last seen.
    """

    quota: str
    clients: int
    reason: str


class StoreBack(Struct, frozen=True, kw_only=True):
    """The store answers again after `lost_s` seconds; the quota is shared through it again."""

    quota: str
    lost_s: float


class BreakerChanged(Struct, frozen=True, kw_only=True):
    """A target's breaker is now `closed`, `open` (no calls) or `half_open` (a few test calls)."""

    target: str
    state: str


class FailedOver(Struct, frozen=True, kw_only=True):
    """A target refused for `reason`; the target at `position` (0 is the preferred one) is called."""

    position: int
    reason: str


class Hedged(Struct, frozen=True, kw_only=True):
    """A second copy of a call was sent after `after_s` seconds. won: the second copy's answer was used."""

    after_s: float
    won: bool


FINDINGS = (
    *(
        "degenerate",
        "copies",
        "repetition",
        "guesses",
    ),  # these score 0, the others are only reported
    *("forged_fence", "forged_verdict", "forged_order", "invisible"),
)
"""Findings of guards in responses (docs/guards.md)."""

ALARMS = ("judge_drift", "judge_over_verifier", "reward_by_length")
"""Alarms of monitors."""


class GuardFired(Struct, frozen=True, kw_only=True):
    """A guard found one of `FINDINGS` in a response."""

    guard: str


class CanaryGraded(Struct, frozen=True, kw_only=True):
    """A canary, a sample with a known score, was judged in addition to a batch; usage is a `values.Usage`."""

    score: float | None
    expected: float
    usage: Any


class AlarmChanged(Struct, frozen=True, kw_only=True):
    """A monitor raised one of `ALARMS`, or took it back.

    value: the measured value. limit: the value from which the alarm is raised.
    """

    alarm: str
    is_raised: bool
    value: float
    limit: float


Event = (
    CallEnded
    | Retried
    | CacheLooked
    | SampleGraded
    | GroupScored
    | ChannelChanged
    | RequestChanged
    | StoreLost
    | StoreBack
    | BreakerChanged
    | FailedOver
    | Hedged
    | GuardFired
    | CanaryGraded
    | AlarmChanged
)
Sink = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """A sink that ignores all events."""


class Told:
    """Several sinks as one. An error in one sink does not reach the others or the caller.

    failed: number of errors; the first error of each sink is in Python's log, with its traceback.
    """

    def __init__(self, sinks: tuple[Sink, ...]) -> None:
        self.failed = 0
        self._sinks = sinks
        self._complained: set[int] = set()

    def __repr__(self) -> str:
        return f"<Told {len(self._sinks)} sinks, {self.failed} failed>"

    def __call__(self, event: Event) -> None:
        for sink in self._sinks:
            try:
                sink(event)
            except Exception:
                self.failed += 1
                if id(sink) not in self._complained:
                    self._complained.add(id(sink))
                    logger.exception("a telemetry sink failed, from now on only counted: %r", sink)


def tell(*sinks: Sink) -> Told:
    """One sink that gives each event to all of these, in order."""
    return Told(sinks)
