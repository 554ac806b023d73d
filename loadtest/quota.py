"""Measures the used share of a saturated quota, and whether it is exceeded: in virtual time and on sockets.

    python loadtest/quota.py [--virtual-minutes 10] [--seconds 62]

In both parts the full stack judges as fast as possible, and the simulator's quota model, which is independent
of our limiter, enforces the quota. In virtual time a double with this model
answers after 0.3 s; in real time it is the simulator over HTTP, with all cases at once on one loop.
The first second, with the limiter's burst, does not count for the used share.
"""

import asyncio
import itertools
import math
from collections.abc import Iterator
from typing import Any

import msgspec
from measuring import (
    ENVIRON,
    MODEL,
    InstantJudge,
    at_least,
    at_most,
    percentile,
    report,
    sample,
    say,
    settings_for,
    sizes,
)
from msgspec import Struct

from judge_service import JudgeService, Sample, Settings, open_service
from judge_service.errors import Throttled
from judge_service.flow import Request
from judge_service.flow.admission.tokens import LearnedRatio
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.simulator.faults import Refusal
from judge_service.simulator.quota import Quota, QuotaStatistics
from judge_service.telemetry.events import Event, SampleGraded
from judge_service.testing import run_virtual
from judge_service.values import Completion, Prompt, Usage

LATENCY_S = 0.3
WARM_UP_S = 1.0
WINDOW = 400
"""Samples in work at the same time: some seconds of either quota, so that calls always wait."""
SHORT_WORDS, LONG_WORDS = 40, 1000
REQUESTS = {"requests_per_minute": 6_000.0}
TOKENS = {"tokens_per_minute": 1_200_000.0}
WRONG_CHARS_PER_TOKEN = LearnedRatio().chars_per_token / 1.3
"""With this ratio the judge counts 30 % more tokens than the estimate at the start."""


class Case(Struct, frozen=True, kw_only=True):
    """A quota, its refill at the judge, and whether every eleventh sample is long."""

    name: str
    limits: dict[str, float]
    refill: str = "continuous"
    mixed: bool = False
    chars_per_token: float = 4.0

    def config(self) -> SimulatorConfig:
        return msgspec.convert(
            {
                **self.limits,
                "refill": self.refill,
                "chars_per_token": self.chars_per_token,
                "latency_median_s": LATENCY_S,
                "latency_sigma": 0.0,
                "max_events": 1_000_000,
            },
            SimulatorConfig,
        )

    def settings(self, url: str) -> Settings:
        return settings_for(url, limits=self.limits, cache={"max_entries": 0})

    def is_long(self, number: int) -> bool:
        return self.mixed and number % 11 == 0


CASES = (
    Case(name="requests", limits=REQUESTS),
    Case(name="tokens", limits=TOKENS, mixed=True),
    Case(name="wrong_estimate", limits=TOKENS, mixed=True, chars_per_token=WRONG_CHARS_PER_TOKEN),
)
BY_THE_MINUTE = (
    Case(name="requests_by_the_minute", limits=REQUESTS, refill="minute"),
    Case(name="tokens_by_the_minute", limits=TOKENS, refill="minute", mixed=True),
)
"""The same with a quota that is refilled once a minute; AWS does not document its kind."""


class Seen(Struct, frozen=True):
    """One call at the judge: its arrival, whether it was admitted, its charge."""

    at_s: float
    admitted: bool
    tokens: int


class Outcome(Struct, frozen=True):
    """The results of a case."""

    case: Case
    used: float
    seen: list[Seen]
    quota: QuotaStatistics
    short_waits_s: list[float]
    long_waits_s: list[float]
    unscored: int


def main() -> None:
    options = sizes(__doc__, virtual_minutes=(10.0, 0.1), seconds=(62.0, 3.0))
    figures: list[dict[str, Any]] = []
    details: dict[str, Any] = {}
    for case in (*CASES, *BY_THE_MINUTE):
        outcome = run_virtual(in_virtual_time(case, options.virtual_minutes * 60))
        where = f"{options.virtual_minutes:g} min virtual"
        figures += figures_of(outcome, where)
        details[f"{case.name}_virtual"] = details_of(outcome)
        say(f"{case.name}, {where}: done")
    say(f"real sockets, {options.seconds:g} s, all cases at once")
    for outcome in asyncio.run(on_real_sockets(options.seconds)):
        figures += figures_of(outcome, f"{options.seconds:g} s sockets")
        details[f"{outcome.case.name}_sockets"] = details_of(outcome)
    calls = calls_to_learn()
    figures.append(at_most("wrong estimate: calls until the estimate covers the truth", calls, 200))
    report("quota", figures, details, smoke=options.smoke)


# The two settings


async def in_virtual_time(case: Case, seconds: float) -> Outcome:
    model = EnforcingJudge(case.config())
    log = Waits()
    backend: Any = model
    async with open_service(
        case.settings("http://none"), environ={}, sink=log, model=backend
    ) as judge:
        span = await saturate(judge, case, seconds)
    return outcome_of(case, span, model.seen, model.quota.statistics(), log)


async def on_real_sockets(seconds: float) -> list[Outcome]:
    return await asyncio.gather(*(on_a_socket(case, seconds) for case in CASES))


async def on_a_socket(case: Case, seconds: float) -> Outcome:
    log = Waits()
    async with (
        simulate(case.config()) as simulator,
        open_service(case.settings(simulator.url), environ=ENVIRON, sink=log) as judge,
    ):
        span = await saturate(judge, case, seconds)
        seen = [
            Seen(call.started_s, call.status == 200, call.input_tokens + call.output_tokens)
            for call in simulator.events()
        ]
        quota = simulator.statistics().quotas[MODEL]
    return outcome_of(case, span, seen, quota, log)


async def saturate(judge: JudgeService, case: Case, seconds: float) -> tuple[float, float]:
    """Judges until the time is over, and finishes the samples in work. Returns the counted interval."""
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    def jobs() -> Iterator[tuple[int, Sample]]:
        for number in itertools.count():
            if loop.time() >= started_s + seconds:
                return
            words = LONG_WORDS if case.is_long(number) else SHORT_WORDS
            yield number, sample(number, words)

    async for _ in judge.stream(jobs(), window=WINDOW):
        pass
    return started_s + WARM_UP_S, started_s + seconds


class EnforcingJudge(InstantJudge):
    """Answers after `LATENCY_S`, and enforces the quota like the simulator."""

    def __init__(self, config: SimulatorConfig) -> None:
        super().__init__()
        self._config = config
        self.quota = Quota(config)
        self.seen: list[Seen] = []

    async def __call__(self, request: Request[Prompt]) -> Completion:
        now_s = request.sent_at = asyncio.get_running_loop().time()
        characters = sum(len(message.content) for message in request.body.messages)
        tokens = math.ceil(characters / self._config.chars_per_token)
        admitted = self.quota.admit(tokens + request.body.max_output_tokens, now_s)
        self.seen.append(Seen(now_s, not isinstance(admitted, Refusal), tokens + 1))
        if isinstance(admitted, Refusal):
            raise Throttled(admitted.message)
        await asyncio.sleep(LATENCY_S)
        self.quota.settle(admitted, tokens + 1, asyncio.get_running_loop().time())
        return Completion(text="0.75", usage=Usage(tokens, 1, calls=1), model=self.model)


class Waits:
    """A sink that records the duration of each sample, and counts samples without a score."""

    def __init__(self) -> None:
        self.graded: list[tuple[int, float]] = []
        self.unscored = 0

    def __call__(self, event: Event) -> None:
        if isinstance(event, SampleGraded):
            self.graded.append((event.id, event.duration_s))
            self.unscored += event.reward.score is None


# Results


def outcome_of(
    case: Case,
    span: tuple[float, float],
    seen: list[Seen],
    quota: QuotaStatistics,
    log: Waits,
) -> Outcome:
    """The results of a case. span: begin and end of the counted time."""
    begin_s, end_s = span
    counted = [call for call in seen if call.admitted and begin_s <= call.at_s < end_s]
    in_requests = "requests_per_minute" in case.limits
    spent = len(counted) if in_requests else sum(call.tokens for call in counted)
    (per_minute,) = case.limits.values()
    waits_s = [(case.is_long(number), took_s - LATENCY_S) for number, took_s in log.graded[WINDOW:]]
    return Outcome(
        case=case,
        used=spent / (per_minute * (end_s - begin_s) / 60),
        seen=seen,
        quota=quota,
        short_waits_s=[wait_s for is_long, wait_s in waits_s if not is_long],
        long_waits_s=[wait_s for is_long, wait_s in waits_s if is_long],
        unscored=log.unscored,
    )


def throttled_percent(outcome: Outcome) -> float:
    return 100 * sum(not call.admitted for call in outcome.seen) / len(outcome.seen)


def over_percent(outcome: Outcome) -> float:
    """Percent by which the judge's largest count in any 60 s exceeds the quota."""
    (name, per_minute), *_ = outcome.case.limits.items()
    in_requests = name == "requests_per_minute"
    quota = outcome.quota
    worst = quota.worst_window_requests if in_requests else quota.worst_window_tokens
    return 100 * (worst / per_minute - 1)


def last_throttled(outcome: Outcome) -> int:
    """The number, from 1, of the last refused call; 0 if there is none."""
    refused = (place for place, call in enumerate(outcome.seen, 1) if not call.admitted)
    return max(refused, default=0)


def figures_of(outcome: Outcome, where: str) -> list[dict[str, Any]]:
    name = f"{outcome.case.name.replace('_', ' ')}, {where}"
    throttled = throttled_percent(outcome)
    if outcome.case.name == "wrong_estimate":
        return [
            at_most(f"{name}: throttled", throttled, 1.0, "%"),
            at_most(f"{name}: the last throttled call", last_throttled(outcome), 200),
        ]
    figures = [
        at_least(f"{name}: used", 100 * outcome.used, 99.0, "%"),
        at_most(f"{name}: fullest 60 s above the quota", over_percent(outcome), 1.0, "%"),
        at_most(f"{name}: throttled", throttled, 0.1, "%"),
        at_most(f"{name}: samples not scored", outcome.unscored, 0),
    ]
    if outcome.long_waits_s:
        ratio = percentile(outcome.long_waits_s, 99) / percentile(outcome.short_waits_s, 99)
        figures.append(at_most(f"{name}: p99 wait of long over short", ratio, 3.0, "times"))
    return figures


def details_of(outcome: Outcome) -> dict[str, Any]:
    waits = {"short": outcome.short_waits_s, "long": outcome.long_waits_s}
    return {
        "limits": outcome.case.limits,
        "refill": outcome.case.refill,
        "calls": len(outcome.seen),
        "used_percent": round(100 * outcome.used, 3),
        "fullest_60_s_above_the_quota_percent": round(over_percent(outcome), 3),
        "throttled_percent": round(throttled_percent(outcome), 3),
        "last_throttled_call": last_throttled(outcome),
        "unscored": outcome.unscored,
        "wait_s": {
            kind: {f"p{percent}": round(percentile(seconds, percent), 3) for percent in (50, 99)}
            for kind, seconds in waits.items()
            if seconds
        },
    }


def calls_to_learn() -> int:
    """Number of calls until an estimate that starts 30 % too low is high enough."""
    ratio, characters, calls = LearnedRatio(), 1200, 0
    tokens = math.ceil(characters / WRONG_CHARS_PER_TOKEN)
    while ratio.estimate(characters) < tokens and calls < 10_000:
        ratio.learn(characters, tokens)
        calls += 1
    return calls


if __name__ == "__main__":
    main()
