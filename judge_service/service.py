"""The composition root: settings in, a working judge out. The only module that knows all the others.

async with open_service(settings) as judge:
    rewards = await judge.score(samples)
"""

import asyncio
import os
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from typing import Any, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from judge_service.backends import Backend, open_backend
from judge_service.flow import Handler, Request, stack
from judge_service.flow.cache import Cache
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.concurrency import Concurrency
from judge_service.flow.deadline import Deadline
from judge_service.flow.detach import Detach
from judge_service.flow.observe import Observe
from judge_service.flow.rate_limit import Limit, RateLimit
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.flow.tokens import LearnedRatio
from judge_service.grading import Grader, Rubric, Unparseable, load_rubric, parse
from judge_service.settings import LimitSettings, PriceSettings, Settings
from judge_service.telemetry.events import SampleGraded, Sink, ignore
from judge_service.values import NO_USAGE, Completion, Prompt, Reward, Sample, Usage
from judge_service.wire import Door, decode_event, encode_reply

K = TypeVar("K")

DRAIN_S = 2.0
"""How long closing waits for calls that nobody waits for any more."""


class Stacks(Struct, frozen=True):
    """The layers as assembled, outermost first, for `judge explain` and for closing."""

    per_prompt: tuple[Any, ...]
    per_target: tuple[Any, ...]
    detach: Detach


class TokenCost:
    """What a prompt reserves and what its completion is charged, in the quota's resources.

    Bedrock takes input + max output tokens when a call starts and settles to input + cache writes +
    output x burndown when it ends, so that is how we count; the input of a prompt not yet sent is
    estimated from its length by a ratio learned from the answers.
    """

    def __init__(self, limits: LimitSettings, ratio: LearnedRatio) -> None:
        self._burndown = limits.output_burndown
        self._ratio = ratio

    def reserve(self, prompt: Prompt) -> dict[str, int]:
        return self._amounts(self._ratio.estimate(_characters(prompt)), prompt.max_output_tokens)

    def charge(self, prompt: Prompt, completion: Completion) -> dict[str, int]:
        usage = completion.usage
        if usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens == 0:
            return self.reserve(prompt)  # a backend that does not count tokens
        seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        self._ratio.learn(_characters(prompt), seen)
        return self._amounts(usage.input_tokens + usage.cache_write_tokens, usage.output_tokens)

    def _amounts(self, input_tokens: int, output_tokens: int) -> dict[str, int]:
        burnt = round(output_tokens * self._burndown)
        return {
            "requests": 1,
            "tokens": input_tokens + burnt,
            "input_tokens": input_tokens,
            "output_tokens": output_tokens,
        }


def _characters(prompt: Prompt) -> int:
    return sum(len(message.content) for message in prompt.messages)


class JudgeService:
    """A judge, ready to score. Made by `open_service`; belongs to the event loop it was opened on."""

    def __init__(
        self,
        *,
        settings: Settings,
        rubric: Rubric,
        grader: Grader,
        backend: Backend,
        stacks: Stacks,
        sink: Sink,
    ) -> None:
        self.settings = settings
        self.rubric = rubric
        self._grader = grader
        self._backend = backend
        self._stacks = stacks
        self._sink = sink
        self._door = Door(
            policy=settings.unscored.policy,
            max_fraction=settings.unscored.max_fraction,
            memory_s=settings.unscored.memory_s,
            score_range=settings.wire.score_range,
            now=time.monotonic,
        )

    @property
    def model(self) -> str:
        """Who judges: the model id, or the embedded model's name."""
        return self._backend.model

    async def score(
        self, samples: Sequence[Sample], *, deadline_s: float | None = None
    ) -> list[Reward]:
        """One reward per sample, in order. A sample that cannot be judged has `score=None`.

        deadline_s: seconds for the whole batch, `settings.deadline_s` by default. What is not judged
            by then comes back with the reason `deadline`.

        Never raises for a failure to judge; cancelling it cancels the work.
        """
        seconds = self.settings.deadline_s if deadline_s is None else deadline_s
        deadline = asyncio.get_running_loop().time() + seconds
        rewards: list[Reward | None] = [None] * len(samples)
        async with aclosing(
            self._run(enumerate(samples), window=self._window(len(samples)), deadline=deadline)
        ) as finished:
            async for position, reward in finished:
                rewards[position] = reward
        return [reward for reward in rewards if reward is not None]

    async def stream(
        self,
        jobs: AsyncIterable[tuple[K, Sample]] | Iterable[tuple[K, Sample]],
        *,
        window: int | None = None,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[tuple[K, Reward]]:
        """Rewards as they are ready, each with the key its sample came with.

        jobs: read as results are taken, so that at most `window` samples are in memory.
        window: samples at work at once, by default twice `limits.max_in_flight`.
        deadline_s: seconds for each sample from when its work begins; by default none, because a
            long file waits for its quota as long as it takes.
        """
        size = window or 2 * self.settings.limits.max_in_flight
        async with aclosing(self._run(jobs, window=size, deadline_s=deadline_s)) as finished:
            async for key, reward in finished:
                yield key, reward

    async def answer(self, event: Any, *, deadline_s: float | None = None) -> Any:
        """A trainer's event in, the reply in the trainer's form out, with the unscored policy applied.

        event: parsed JSON in any dialect of `docs/contracts.md`.

        Raises WireError if the event is no batch, TooManyUnscored if too much of it was not judged.
        """
        batch = decode_event(event)
        rewards = await self.score(batch.samples, deadline_s=deadline_s)
        answers = self._door.answer(batch.samples, rewards)
        wanted = self.settings.wire.envelope
        return encode_reply(answers, batch.envelope if wanted == "auto" else wanted)

    async def check(self) -> list[str]:
        """What stands in the way of judging, one line each; empty when nothing does."""
        return await self._backend.check()

    def explain(self) -> list[tuple[str, list[str]]]:
        """The assembled stacks, outermost layer first, each layer with its settings."""
        target = f"per target ({self.settings.backend}: {self.model})"
        return [
            ("per sample", [repr(self._grader)]),
            ("per prompt", [repr(layer) for layer in self._stacks.per_prompt]),
            (target, [*map(repr, self._stacks.per_target), repr(self._backend)]),
        ]

    def _window(self, samples: int) -> int:
        return max(1, min(samples, 2 * self.settings.limits.max_in_flight))

    async def _grade(self, sample: Sample, deadline: float) -> Reward:
        loop = asyncio.get_running_loop()
        started = loop.time()
        reward = await self._grader(Request(body=sample, deadline=deadline))
        duration_s = loop.time() - started
        self._sink(SampleGraded(id=sample.id, reward=reward, duration_s=duration_s))
        return reward

    async def _run(
        self,
        jobs: AsyncIterable[tuple[K, Sample]] | Iterable[tuple[K, Sample]],
        *,
        window: int,
        deadline: float | None = None,
        deadline_s: float | None = None,
    ) -> AsyncGenerator[tuple[K, Reward]]:
        """`window` workers over one iterator: gathering 100,000 tasks would stall the loop for a second."""
        loop = asyncio.get_running_loop()
        source = _Source(jobs)
        finished: asyncio.Queue[tuple[K, Reward] | _Ended] = asyncio.Queue(maxsize=window)

        async def work() -> None:
            ended = _Ended(None)
            try:
                while (job := await source.take()) is not None:
                    key, sample = job
                    until = deadline
                    if until is None:
                        until = float("inf") if deadline_s is None else loop.time() + deadline_s
                    await finished.put((key, await self._grade(sample, until)))
            except Exception as problem:  # noqa: BLE001 - the iterator's error belongs to the reader
                ended = _Ended(problem)
            await finished.put(ended)

        workers = [asyncio.create_task(work()) for _ in range(window)]
        try:
            running = len(workers)
            while running:
                item = await finished.get()
                if not isinstance(item, _Ended):
                    yield item
                    continue
                running -= 1
                if item.problem is not None:
                    raise item.problem
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


class _Ended(Struct, frozen=True):
    """A worker has no more to do, or its source failed."""

    problem: Exception | None


class _Source:
    """One reader at a time over a plain or an async iterable."""

    def __init__(self, jobs: AsyncIterable[Any] | Iterable[Any]) -> None:
        self._plain = iter(jobs) if isinstance(jobs, Iterable) else None
        self._async = aiter(jobs) if isinstance(jobs, AsyncIterable) else None
        self._lock = asyncio.Lock()

    async def take(self) -> Any:
        """The next job, `None` when there are no more."""
        if self._plain is not None:
            return next(self._plain, None)
        if self._async is None:
            return None
        async with self._lock:
            return await anext(self._async, None)


@asynccontextmanager
async def open_service(
    settings: Settings | None = None,
    *,
    environ: Mapping[str, str] | None = None,
    sink: Sink = ignore,
    model: Backend | None = None,
) -> AsyncIterator[JudgeService]:
    """Opens a judge, and closes everything it started on leaving.

    settings: `Settings()` by default, which is the embedded judge with the similarity rubric.
    environ: where credentials and region are read from, `os.environ` by default.
    sink: is told what happens (`judge_service.telemetry.events`).
    model: a backend of your own, used instead of the configured one (a double in tests).

    Raises SettingsError (RubricError) if the configuration cannot work.
    """
    settings = settings or Settings()
    rubric = load_rubric(settings.rubric)
    async with AsyncExitStack() as closing:
        backend = model or open_backend(settings, os.environ if environ is None else environ)
        closing.push_async_callback(backend.aclose)
        stacks = _assemble(settings, rubric, backend, sink)
        closing.push_async_callback(stacks.detach.aclose, DRAIN_S)
        yield JudgeService(
            settings=settings,
            rubric=rubric,
            grader=_grader(settings, rubric, stacks, backend, sink),
            backend=backend,
            stacks=stacks,
            sink=sink,
        )


def _assemble(settings: Settings, rubric: Rubric, backend: Backend, sink: Sink) -> Stacks:
    """The layers in the order that `docs/architecture.md` gives reasons for."""
    detach = Detach()
    return Stacks(
        per_prompt=(
            Deadline(),
            Cache(
                max_entries=settings.cache.max_entries,
                ttl_s=settings.cache.ttl_s,
                key=_key,
                keep=_has_verdict(rubric),
                mark=_as_cached,
                sink=sink,
            ),
            Coalesce(key=_key),
            _retry(settings, sink),
        ),
        per_target=(
            detach,
            Observe(target=backend.model, sink=sink),
            _rate_limit(settings.limits),
            Concurrency(max_in_flight=settings.limits.max_in_flight),
        ),
        detach=detach,
    )


def _grader(
    settings: Settings, rubric: Rubric, stacks: Stacks, backend: Backend, sink: Sink
) -> Grader:
    model: Handler[Prompt, Completion] = stack(backend, *stacks.per_prompt, *stacks.per_target)
    return Grader(
        rubric=rubric,
        model=model,
        channels=backend.channels,
        answer=settings.answer,
        fence_secret=os.urandom(16),
        temperature=settings.temperature,
        max_reasks=settings.max_reasks,
        max_sample_chars=settings.max_sample_chars,
        price=_price(settings.prices),
        sink=sink,
    )


def _retry(settings: Settings, sink: Sink) -> Retry:
    retry = settings.retry
    return Retry(
        max_attempts=retry.max_attempts,
        max_throttled=retry.max_throttled,
        base_s=retry.base_s,
        throttled_base_s=retry.throttled_base_s,
        cap_s=retry.cap_s,
        budget=RetryBudget(ratio=retry.budget_ratio, per_s=retry.budget_per_s),
        sink=sink,
    )


def _rate_limit(limits: LimitSettings) -> RateLimit[Prompt, Completion]:
    per_minute = {
        "requests": limits.requests_per_minute,
        "tokens": limits.tokens_per_minute,
        "input_tokens": limits.input_tokens_per_minute,
        "output_tokens": limits.output_tokens_per_minute,
    }
    cost = TokenCost(limits, LearnedRatio())
    return RateLimit(
        limits={
            name: Limit(per_minute=amount, burst_s=limits.burst_s)
            for name, amount in per_minute.items()
            if amount is not None
        },
        reserve=cost.reserve,
        charge=cost.charge,
    )


def _key(prompt: Prompt) -> str:
    return prompt.key


def _has_verdict(rubric: Rubric) -> Callable[[Prompt, Completion], bool]:
    """Only verdicts are kept: a refusal or a broken answer may be another one next time."""

    def has_verdict(prompt: Prompt, completion: Completion) -> bool:
        verdict = parse(completion, rubric.criteria, prompt.channel, rubric.reasoning)
        return not isinstance(verdict, Unparseable)

    return has_verdict


def _as_cached(completion: Completion) -> Completion:
    return replace(completion, cached=True, usage=NO_USAGE)


def _price(prices: PriceSettings) -> Any:
    """Dollars for a usage, or `None` when the operator gave no prices."""
    per_input = prices.input_usd_per_million_tokens
    per_output = prices.output_usd_per_million_tokens
    if per_input is None or per_output is None:
        return _unknown

    def cost_usd(usage: Usage) -> float | None:
        read = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        return (read * per_input + usage.output_tokens * per_output) / 1e6

    return cost_usd


def _unknown(_usage: Usage) -> float | None:
    return None
