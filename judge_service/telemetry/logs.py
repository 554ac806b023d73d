"""Log lines, flat JSON: one for each sample and one for each operator's event. Fields: docs/metrics.md."""

import random
import time
from collections.abc import Callable
from typing import Any, Literal

from judge_service.telemetry.events import (
    AlarmChanged,
    BreakerChanged,
    ChannelChanged,
    Event,
    FailedOver,
    RequestChanged,
    SampleGraded,
    StoreBack,
    StoreLost,
)
from judge_service.telemetry.lines import Lines, stamp
from judge_service.telemetry.text import label, plain
from judge_service.telemetry.trace import current
from judge_service.values import Reward

FIELDS = (
    "timestamp",
    "level",
    "service",
    "message",
    "function_request_id",
    "xray_trace_id",
    "id",
    "aggregate_reward_score",
    "duration",
    "unscored",
    "unscored_reason",
    "detail",
    "calls",
    "input_tokens",
    "output_tokens",
    "cost_usd",
    "model",
    "cached",
    "rubric",
    "response",
    "explanation",
)
"""Fields of a sample's line; each criterion adds one."""

PREFIX = "criterion_"
TAKEN = frozenset(FIELDS)

MAX_RESPONSE_CHARS = 2_000
MAX_WORDS_CHARS = 300
"""Most characters of a detail, a model's name or a reason; those of a custom grader may be longer."""

REPEAT_S = 10.0
"""A repetition of an operator's event within this time is counted, not written: a region that is down would
otherwise write a line for every call."""

MAX_KINDS = 200
"""How many different operator's events are remembered for that; more than targets and reasons can make."""

LEVELS: dict[type[Any], Literal["INFO", "WARNING"]] = {
    AlarmChanged: "WARNING",
    BreakerChanged: "WARNING",
    ChannelChanged: "WARNING",
    FailedOver: "WARNING",
    RequestChanged: "WARNING",
    StoreLost: "WARNING",
    StoreBack: "INFO",
}
"""Events that an operator must know."""


def field_of(criterion: str) -> str:
    """The field of a criterion's score: its name, or `criterion_` and its name if that is taken."""
    if criterion in TAKEN or criterion.startswith(PREFIX):
        return PREFIX + criterion
    return criterion


class Logs:
    """A sink that writes lines.

    lines: where they go.
    service: the field `service`.
    sample_rate: share of the samples with a line, in [0, 1], drawn at random: a rule over ids or positions
        would always choose the same rollouts of a group. Unscored samples, and those that took longer than
        `slow_s`, always have a line.
    candidate_text: whether to add the start of the response. explanations: the judge's written reason.
    lowest: lower end of the wire range, 0 or -1; scores are written as they are sent.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        service: str = "judge-service",
        sample_rate: float = 1.0,
        slow_s: float = 5.0,
        candidate_text: bool = False,
        explanations: bool = False,
        lowest: float = 0.0,
        now: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._lines = lines
        self._service = service
        self._sample_rate = sample_rate
        self._slow_s = slow_s
        self._candidate_text = candidate_text
        self._explanations = explanations
        self._lowest = lowest
        self._now = now
        self._chance = chance
        self._repeats = _Repeats()

    def __repr__(self) -> str:
        return f"<Logs sample_rate={self._sample_rate:g} to {self._lines!r}>"

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind is SampleGraded:
            if self._is_wanted(event):  # type: ignore[arg-type] # mypy does not narrow by `kind`
                self._lines.add(self._sample(event))  # type: ignore[arg-type] # as above
        elif kind in LEVELS:
            self._tell_operator(event)

    def _is_wanted(self, event: SampleGraded) -> bool:
        if event.reward.score is None or event.duration_s > self._slow_s:
            return True
        return self._sample_rate >= 1.0 or self._chance() < self._sample_rate

    def _sample(self, event: SampleGraded) -> dict[str, Any]:
        reward: Reward = event.reward
        unscored = reward.score is None
        line = self._head("WARNING" if unscored else "INFO", "sample")
        line["id"] = label(event.id)
        if reward.score is not None:
            line["aggregate_reward_score"] = self._on_wire(reward.score)
        for part in reward.parts:
            if part.score is not None:
                line[field_of(plain(part.name, MAX_WORDS_CHARS))] = self._on_wire(part.score)
        line["duration"] = round(event.duration_s * 1000, 3)
        line["unscored"] = int(unscored)
        if unscored:
            line["unscored_reason"] = plain(str(reward.reason), MAX_WORDS_CHARS)
        if reward.detail:
            line["detail"] = plain(reward.detail, MAX_WORDS_CHARS)
        self._add_cost(line, reward)
        line["rubric"] = event.rubric
        if self._candidate_text and event.response is not None:
            line["response"] = plain(event.response, MAX_RESPONSE_CHARS)
        if self._explanations and reward.explanation:
            line["explanation"] = plain(reward.explanation, MAX_RESPONSE_CHARS)
        return line

    def _add_cost(self, line: dict[str, Any], reward: Reward) -> None:
        usage = reward.usage
        line["calls"] = usage.calls
        line["input_tokens"] = (
            usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        )
        line["output_tokens"] = usage.output_tokens
        if usage.cache_read_tokens or usage.cache_write_tokens:
            line["cache_read_tokens"] = usage.cache_read_tokens
            line["cache_write_tokens"] = usage.cache_write_tokens
        if reward.cost_usd is not None:
            line["cost_usd"] = reward.cost_usd
        line["model"] = plain(reward.model, MAX_WORDS_CHARS)
        line["cached"] = reward.cached

    def _head(self, level: str, message: str) -> dict[str, Any]:
        line = {
            "timestamp": stamp(self._now()),
            "level": level,
            "service": self._service,
            "message": message,
        }
        trace = current()
        if trace.request_id:
            line["function_request_id"] = trace.request_id
        if trace.trace_id:
            line["xray_trace_id"] = trace.trace_id
        return line

    def _tell_operator(self, event: Event) -> None:
        repeated = self._repeats.count(event, self._now())
        if repeated is None:
            return
        line = self._head(LEVELS[type(event)], _snake(type(event).__name__))
        for name in event.__struct_fields__:
            value = getattr(event, name)
            line[name] = plain(value, MAX_WORDS_CHARS) if isinstance(value, str) else value
        if repeated:
            line["repeated"] = repeated
        self._lines.add(line)

    def _on_wire(self, score: float) -> float:
        return self._lowest + (1.0 - self._lowest) * score


class _Repeats:
    """Counts how often each event occurred since it was last written."""

    def __init__(self) -> None:
        self._told: dict[Event, tuple[float, int]] = {}

    def count(self, event: Event, now_s: float) -> int | None:
        """The repetitions to report if the event is written now; `None` if it is not written."""
        told_at_s, times = self._told.get(event, (-REPEAT_S, 0))
        if 0 <= now_s - told_at_s < REPEAT_S:
            self._told[event] = (told_at_s, times + 1)
            return None
        if len(self._told) >= MAX_KINDS:
            self._told.clear()
        self._told[event] = (now_s, 0)
        return times


def _snake(name: str) -> str:
    return "".join(f"_{char.lower()}" if char.isupper() else char for char in name).lstrip("_")
