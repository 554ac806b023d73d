"""A world for the assembled service in virtual time: settings, a judge and jobs, all drawn from one seed."""

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.backends.scripted import Scripted
from judge_service.errors import CallError, Throttled, Unavailable
from judge_service.flow import Request
from judge_service.flow.admission.gate import Gate
from judge_service.service import JudgeService, Lane, open_service
from judge_service.settings import Settings
from judge_service.testing import START_S
from judge_service.values import Completion, Prompt, Reward, Sample, Usage

MINUTE_S = 60.0
CHARS_PER_TOKEN = 3.4
ENDS_WITHIN_S = 3000.0


class Spell(Struct, frozen=True):
    """From `at_s` on, for `for_s` seconds: calls take `latency_s`, and a share of them fails."""

    at_s: float
    for_s: float
    latency_s: float
    refused: float = 0.0
    failing: float = 0.0

    def holds(self, now_s: float) -> bool:
        return self.at_s <= now_s < self.at_s + self.for_s


class Job(Struct, frozen=True):
    """One call of `score`. cancel_after_s: when its caller goes, `None` for never."""

    lane: Lane
    name: str
    begins_s: float
    samples: int
    deadline_s: float
    cancel_after_s: float | None
    texts: int
    """How many different texts its samples have: equal ones share a call."""


class World(Struct, frozen=True):
    """All that is drawn. Shares are of the judge's calls, latencies seconds.

    sigma: of the log-normal latency; 0 lets many calls end in one moment.
    """

    seed: int
    settings: Mapping[str, Any]
    latency_s: float
    sigma: float
    refused: float
    failing: float
    reset: float
    spells: tuple[Spell, ...]
    jobs: tuple[Job, ...]


def draw_world(seed: int) -> World:
    """Small enough for a fifth of a second of CPU, and more work than the quota bears in a minute."""
    chance = Random(seed)
    per_minute = chance.choice([120, 240, 360])
    quota: dict[str, float] = chance.choice(
        [
            {"requests_per_minute": per_minute},
            {"requests_per_minute": per_minute},
            {"tokens_per_minute": per_minute * 300},
            {"requests_per_minute": per_minute, "tokens_per_minute": per_minute * 330},
            {},
        ]
    )
    return World(
        seed=seed,
        settings={
            "backend": "bedrock",
            "model": "m",
            "limits": {
                **quota,
                "max_in_flight": chance.choice([2, 6, 20, 64]),
                "adaptive": chance.random() < 0.7,
            },
            "cache": {"max_entries": chance.choice([0, 100])},
            "hedge": {"enabled": chance.random() < 0.3, "budget": 0.1},
            "pack": {"max_samples": chance.choice([1, 1, 1, 4])},
            **({"vote": {"draws": 3}, "temperature": 1.0} if chance.random() < 0.2 else {}),
        },
        latency_s=chance.choice([0.1, 0.3, 1.0, 3.0]),
        sigma=chance.choice([0.0, 0.0, 0.2]),
        refused=chance.choice([0.0, 0.0, 0.01, 0.03, 0.1]),
        failing=chance.choice([0.0, 0.0, 0.02, 0.05]),
        reset=chance.choice([0.0, 0.0, 0.01]),
        spells=tuple(_draw_spell(chance) for _ in range(chance.randrange(4))),
        jobs=tuple(_draw_job(chance, n, per_minute) for n in range(chance.randrange(3, 9))),
    )


def _draw_spell(chance: Random) -> Spell:
    kind = chance.choice(["slow", "slow", "storm", "outage", "ill"])
    return Spell(
        at_s=chance.uniform(0, 80),
        for_s=chance.uniform(2, 30),
        latency_s=chance.choice([0.05, 2.0, 5.0, 10.0, 20.0]),
        refused=1.0 if kind == "storm" else 0.0,
        failing={"outage": 1.0, "ill": 0.6}.get(kind, 0.0),
    )


def _draw_job(chance: Random, number: int, per_minute: int) -> Job:
    samples = chance.choice([1, 5, per_minute // 3, per_minute // 2])
    return Job(
        lane=chance.choice(["interactive", "training", "bulk"]),
        name=f"job {number % 5}",
        begins_s=chance.choice([0.0, 0.0, chance.uniform(0, 60)]),
        samples=samples,
        deadline_s=chance.choice([5.0, 60.0, 900.0, 900.0]),
        cancel_after_s=chance.uniform(0, 40) if chance.random() < 0.25 else None,
        texts=chance.choice([samples, samples, max(1, samples // 2)]),
    )


def text_of(job: Job, number: int) -> str:
    """Of several lengths; words that repeat would be taken for a loop."""
    words = " ".join(f"word{n}" for n in range(number % 7 * 10))
    return f"{job.name} says {words} {number % job.texts}"


def score_of(text: str) -> float:
    """The judge's score for a text, so that a reward given to another sample is noticed."""
    last = text.rpartition(" ")[2]
    return int(last) % 10 / 10 if last.isdigit() else 0.5


class Flow(Struct):
    """What went to the judge: a call with its tokens when it was sent, negative for what was given back."""

    at_s: float
    requests: int
    tokens: int


class WorldJudge(Scripted):
    """Counts what is sent to it, and looks at the breaker at that moment."""

    def __init__(self, world: World) -> None:
        super().__init__(0.5)
        self.world = world
        self.chance = Random(world.seed + 1)
        self.gate: Gate[Any, Any]
        self.reserved: dict[int, tuple[int, ...]] = {}
        self.flows: list[Flow] = []
        self.sent = self.inside = self.most_inside = 0
        self.sent_to_open_breaker = self.excess_probes = 0
        self.largest = 1

    def watch(self, gate: Gate[Any, Any]) -> None:
        """Learns what the gate reserves for each prompt, and looks at its breaker."""
        self.gate = gate
        reserve = gate._reserve

        def noted(prompt: Prompt) -> tuple[int, ...]:
            costs = self.reserved[id(prompt)] = reserve(prompt)
            return costs

        gate._reserve = noted

    async def __call__(self, request: Request[Prompt]) -> Completion:
        loop = asyncio.get_running_loop()
        request.sent_at = loop.time()
        now_s = loop.time() - START_S
        tokens = self._tokens_of(request.body)
        self._look_at_breaker()
        self.sent += 1
        self.inside += 1
        self.most_inside = max(self.most_inside, self.inside)
        self._note(1, tokens)
        spell = next((one for one in self.world.spells if one.holds(now_s)), None)
        try:
            return await self._answer(request, spell, tokens)
        finally:
            self.inside -= 1

    async def _answer(
        self, request: Request[Prompt], spell: Spell | None, tokens: int
    ) -> Completion:
        error = self._draw_error(spell)
        latency_s = spell.latency_s if spell else self.world.latency_s
        if error is not None and error.throttled:
            latency_s = 0.02
        await asyncio.sleep(latency_s * self.chance.lognormvariate(0, self.world.sigma))
        if error is not None:
            if not error.charged:
                # a refusal takes nothing of the tokens, and counts as a request all the same
                self._note(0 if error.throttled else -1, -tokens)
            raise error
        usage = self._usage_of(request.body)
        if tokens:
            self._note(0, usage.input_tokens + usage.output_tokens - tokens)
        answer = self._completion(request.body, score_of(request.body.question.response or ""))
        return msgspec.structs.replace(answer, usage=usage)

    def _draw_error(self, spell: Spell | None) -> CallError | None:
        refused = max(self.world.refused, spell.refused if spell else 0.0)
        failing = max(self.world.failing, spell.failing if spell else 0.0)
        drawn = self.chance.random()
        if drawn < refused:
            return Throttled("429")
        drawn = self.chance.random()
        if drawn < failing:
            return Unavailable("503", charged=drawn < failing / 2, backoff_s=0.05)
        if self.chance.random() < self.world.reset:
            return Unavailable("reset", charged=True, backoff_s=0.05)
        return None

    def _usage_of(self, prompt: Prompt) -> Usage:
        chars = sum(len(message.content) for message in prompt.messages)
        return Usage(input_tokens=int(chars / CHARS_PER_TOKEN), output_tokens=2, calls=1)

    def _tokens_of(self, prompt: Prompt) -> int:
        """What the gate has reserved for it, 0 where tokens have no quota."""
        limits = list(self.gate._limits)
        if "tokens" not in limits:
            return 0
        tokens = self.reserved[id(prompt)][limits.index("tokens")]
        self.largest = max(self.largest, tokens)
        return tokens

    def _note(self, requests: int, tokens: int) -> None:
        now_s = asyncio.get_running_loop().time() - START_S
        self.flows.append(Flow(now_s, requests, tokens))

    def _look_at_breaker(self) -> None:
        breaker = self.gate._breaker
        self.sent_to_open_breaker += breaker.state == "open"
        self.excess_probes += (
            breaker.state == "half_open" and breaker._probing > breaker._answered + 1
        )

    def most_in_60_s(self, what: str) -> int:
        """The most, over all spans of up to 60 s, that was sent less what was given back in the span."""
        times = [flow.at_s for flow in self.flows]
        sums = [0]
        for flow in self.flows:
            sums.append(sums[-1] + getattr(flow, what))
        most = first = 0
        lowest: list[int] = []  # places of rising sums: the least of the last 60 s is the first
        for place, at_s in enumerate(times):
            while lowest and sums[lowest[-1]] >= sums[place]:
                lowest.pop()
            lowest.append(place)
            while times[first] <= at_s - MINUTE_S:
                first += 1
            while lowest[0] < first:
                lowest.pop(0)
            most = max(most, sums[place + 1] - sums[lowest[0]])
        return most


class Outcome(Struct):
    """What a world came to. rewards: of each job, `None` if its caller went."""

    judge: WorldJudge
    rewards: list[list[Reward] | None]
    gate: Gate[Any, Any]
    service: JudgeService
    tasks_left: int
    took_s: float


async def play(world: World) -> Outcome:
    """Runs a world to its end: all jobs, then what goes on without its caller."""
    judge, loop = WorldJudge(world), asyncio.get_running_loop()
    settings = msgspec.convert(world.settings, Settings)
    async with open_service(settings, environ={}, model=judge) as service:
        gate = service._assembly.targets[0].gate
        judge.watch(gate)
        tasks_before = len(asyncio.all_tasks())
        rewards = await asyncio.gather(*(_work(service, job) for job in world.jobs))
        detached = service._assembly.detached
        while detached.statistics().abandoned:  # noqa: ASYNC110 - virtual time; nothing tells the end
            await asyncio.sleep(1)
        await asyncio.sleep(0)
        took_s = loop.time() - START_S
        return Outcome(
            judge, rewards, gate, service, len(asyncio.all_tasks()) - tasks_before, took_s
        )


async def _work(service: JudgeService, job: Job) -> list[Reward] | None:
    await asyncio.sleep(job.begins_s)
    samples = [Sample(id=n, response=text_of(job, n), reference="gold") for n in range(job.samples)]
    scoring = asyncio.create_task(
        service.score(samples, deadline_s=job.deadline_s, lane=job.lane, job=job.name)
    )
    if job.cancel_after_s is not None:
        asyncio.get_running_loop().call_later(job.cancel_after_s, scoring.cancel)
    try:
        return await scoring
    except asyncio.CancelledError:
        if not scoring.cancelled() or job.cancel_after_s is None:
            raise
        return None
