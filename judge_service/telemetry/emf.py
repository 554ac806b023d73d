"""CloudWatch metrics in embedded metric format: one line per invocation, not per sample.

The format allows at most 100 metrics and 30 dimensions in an object, 100 values in an array, 256 KB in a
line, and numbers only. A sample's id is never a dimension, because AWS bills each value of a dimension as
a metric.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

from judge_service.telemetry.events import CallEnded, Event, SampleGraded
from judge_service.telemetry.lines import Lines
from judge_service.values import Reward

MAX_VALUES = 100
"""Most values of one array, by the format's rules; a line is written when an array is full."""

MAX_CRITERIA = 80
"""Most criteria with a metric of their own; with the fixed metrics there are fewer than 100."""

MAX_AGE_S = 60.0
"""How often a service that is never flushed writes its metrics; CloudWatch's resolution is a minute."""

PREFIX = "Reward_"
"""Prefix of a criterion's metric. The bare name is a field of the samples' lines, which queries average."""

UNITS: Mapping[str, str] = {
    "Samples": "Count",
    "Unscored": "Count",
    "Reward": "None",
    "RewardSquared": "None",
    "JudgeCalls": "Count",
    "JudgeThrottled": "Count",
    "InputTokens": "Count",
    "OutputTokens": "Count",
    "CacheReadTokens": "Count",
    "CacheWriteTokens": "Count",
    "CostUsd": "None",
    "DurationMs": "Milliseconds",
    "QueueMs": "Milliseconds",
    "BackendMs": "Milliseconds",
}
"""All metrics except those of criteria, with their units."""

COUNTERS = (
    "Samples",
    "Unscored",
    "JudgeCalls",
    "JudgeThrottled",
    "InputTokens",
    "OutputTokens",
)
"""Metrics that every object has, also when they are 0, so that an alarm on them has data."""


class Emf:
    """A sink that collects metrics and writes them on `flush`, when an array is full, and each minute.

    lines: where the objects go.
    namespace: of the metrics. dimensions: the same for all of them, such as `FunctionName`.
    lowest: of the wire range, 0 or -1; rewards are written as they are sent.
    """

    def __init__(
        self,
        lines: Lines,
        *,
        namespace: str = "JudgeService",
        dimensions: Mapping[str, str],
        lowest: float = 0.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._lines = lines
        self._namespace = namespace
        self._dimensions = dict(dimensions)
        self._lowest = lowest
        self._now = now
        self._clear()

    def __repr__(self) -> str:
        return f"<Emf {self._namespace} {self._dimensions}>"

    def __call__(self, event: Event) -> None:
        if isinstance(event, SampleGraded):
            self._take_sample(event)
        elif isinstance(event, CallEnded) and event.was_sent:
            self._take_call(event)

    def flush(self) -> None:
        """Writes the collected metrics, if there are any."""
        if self._is_empty:
            return
        self._lines.add(self._object())
        self._clear()

    def _clear(self) -> None:
        self._is_empty = True
        self._since_s = 0.0
        self._counts = dict.fromkeys(COUNTERS, 0)
        self._cache_read = self._cache_write = 0
        self._cost_usd: float | None = None
        self._values: dict[str, list[float]] = {
            name: [] for name in ("Reward", "RewardSquared", "DurationMs", "QueueMs", "BackendMs")
        }
        self._criteria: dict[str, list[float]] = {}

    def _take_sample(self, event: SampleGraded) -> None:
        reward: Reward = event.reward
        usage = reward.usage
        counts = self._counts
        counts["Samples"] += 1
        counts["Unscored"] += reward.score is None
        counts["InputTokens"] += (
            usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        )
        counts["OutputTokens"] += usage.output_tokens
        self._cache_read += usage.cache_read_tokens
        self._cache_write += usage.cache_write_tokens
        if reward.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + reward.cost_usd
        if reward.score is not None:
            self._take_score(reward, reward.score)
        self._add("DurationMs", event.duration_s * 1000)
        self._note(full=len(self._values["DurationMs"]) >= MAX_VALUES)

    def _take_score(self, reward: Reward, score: float) -> None:
        sent = self._on_wire(score)
        self._add("Reward", sent)
        self._add("RewardSquared", sent * sent)
        for part in reward.parts:
            if part.score is None:
                continue
            if part.name in self._criteria or len(self._criteria) < MAX_CRITERIA:
                self._criteria.setdefault(part.name, []).append(self._on_wire(part.score))

    def _take_call(self, event: CallEnded) -> None:
        self._counts["JudgeCalls"] += 1
        self._counts["JudgeThrottled"] += event.throttled
        self._add("QueueMs", event.queue_s * 1000)
        self._add("BackendMs", event.backend_s * 1000)
        self._note(full=len(self._values["QueueMs"]) >= MAX_VALUES)

    def _add(self, name: str, value: float) -> None:
        self._values[name].append(round(value, 6))

    def _note(self, *, full: bool) -> None:
        now_s = self._now()
        if self._is_empty:
            self._is_empty = False
            self._since_s = now_s
        if full or now_s - self._since_s >= MAX_AGE_S:
            self.flush()

    def _object(self) -> dict[str, Any]:
        values: dict[str, Any] = {name: seen for name, seen in self._values.items() if seen}
        values |= self._counts
        if self._cache_read or self._cache_write:
            values |= {"CacheReadTokens": self._cache_read, "CacheWriteTokens": self._cache_write}
        if self._cost_usd is not None:
            values["CostUsd"] = self._cost_usd
        for name, scores in self._criteria.items():
            values[PREFIX + name] = round(sum(scores) / len(scores), 6)
        metrics = [{"Name": name, "Unit": UNITS.get(name, "None")} for name in values]
        return {
            "_aws": {
                "Timestamp": int(self._now() * 1000),
                "CloudWatchMetrics": [
                    {
                        "Namespace": self._namespace,
                        "Dimensions": [list(self._dimensions)],
                        "Metrics": metrics,
                    }
                ],
            },
            **self._dimensions,
            **values,
        }

    def _on_wire(self, score: float) -> float:
        return self._lowest + (1.0 - self._lowest) * score
