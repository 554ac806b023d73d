"""From settings to the stacks that `service` runs: which layers, in which order, with which numbers.

The order and its reasons are in `docs/architecture.md`; `judge explain` prints what was assembled.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from judge_service.backends import Backend, open_backend
from judge_service.errors import SettingsError
from judge_service.flow import Handler, stack
from judge_service.flow.admission.adaptive import AdaptiveConcurrency
from judge_service.flow.admission.breaker import Breaker
from judge_service.flow.admission.concurrency import Concurrency
from judge_service.flow.admission.rate_limit import Limit, RateLimit
from judge_service.flow.admission.tokens import LearnedRatio, is_wide
from judge_service.flow.cache import Cache
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.deadline import Deadline
from judge_service.flow.detach import Detach
from judge_service.flow.latencies import Latencies
from judge_service.flow.observe import Observe
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.flow.stores import QuotaStore
from judge_service.grading import Rubric, has_verdict, panels
from judge_service.http.descriptors import affordable
from judge_service.settings import LimitSettings, Settings, logprobs_of
from judge_service.telemetry.events import Sink
from judge_service.telemetry.state import QuotaState, TargetState
from judge_service.values import NO_USAGE, Channel, Completion, Prompt

if TYPE_CHECKING:  # imported where they are used: a cold start pays for every module
    from judge_service.flow.admission.lease import QuotaLease

DRAIN_S = 2.0
"""How long closing waits for calls that nobody waits for any more."""

GEOGRAPHIES = frozenset({"us", "eu", "apac", "jp", "au", "ca", "global", "us-gov"})
"""Prefixes of cross-region inference profiles, which name the same model elsewhere."""


class Target(Struct, frozen=True):
    """One way to an answer: an account's quota for one model in one region, with its own layers.

    quota: units a minute by resource, as `per_minute` gives them. shared: feeds it from a store.
    """

    backend: Backend
    name: str
    limit: RateLimit[Prompt, Completion]
    slots: Concurrency | AdaptiveConcurrency
    latencies: Latencies
    breaker: Breaker
    quota: Mapping[str, float]
    shared: "QuotaLease | None"
    detach: Detach
    layers: tuple[Any, ...]

    def handler(self) -> Handler[Prompt, Completion]:
        return stack(self.backend, *self.layers)

    def has_room(self) -> bool:
        """Whether a call more would take nothing from anybody."""
        if self.limit.statistics().waiting:
            return False
        return not isinstance(self.slots, AdaptiveConcurrency) or self.slots.has_room()

    def is_busy(self) -> bool:
        """Whether a call more would have to wait."""
        return self.limit.waiting > 0 or self.slots.waiting > 0

    def state(self) -> TargetState:
        """How it stands now."""
        limit, slots = self.limit.statistics(), self.slots.statistics()
        return TargetState(
            target=self.name,
            breaker=self.breaker.statistics().state,
            waiting_by_lane=limit.waiting_by_lane,
            waiting_for_slot=slots.waiting,
            in_flight=slots.in_flight,
            slots=slots.limit,
            quota=tuple(
                QuotaState(
                    resource=name,
                    per_minute=amount,
                    spent=limit.charged[name] + limit.reserved[name],
                )
                for name, amount in self.quota.items()
            ),
            is_shared=self.shared is not None,
        )


class Assembly(Struct, frozen=True):
    """All of it. `model` is the judge with every policy around it."""

    model: Handler[Prompt, Completion]
    per_prompt: tuple[Any, ...]
    targets: tuple[Target, ...]
    tokens: LearnedRatio

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The answer channels that every target understands, in the first one's order."""
        return tuple(
            channel
            for channel in self.targets[0].backend.channels
            if all(channel in target.backend.channels for target in self.targets)
        )


RESOURCES = ("requests", "tokens", "input_tokens", "output_tokens")
"""What a quota can be of, in the order of `TokenCost`'s arithmetic."""


class TokenCost:
    """What a prompt reserves and what its completion is charged, in the limiter's resources.

    Bedrock takes input + max output tokens when a call starts and settles to input + cache writes +
    output x burndown when it ends, so that is how we count; the input of a prompt not yet sent is
    estimated from its length by a ratio learned from the answers.
    """

    def __init__(self, resources: Sequence[str], *, burndown: float, tokens: LearnedRatio) -> None:
        self._order = tuple([RESOURCES.index(name) for name in resources])
        self._burndown = burndown
        self._tokens = tokens

    def reserve(self, prompt: Prompt) -> tuple[int, ...]:
        wide = is_wide(prompt.question.response)
        estimate = self._tokens.estimate(_characters(prompt), wide=wide)
        return self._units(estimate, prompt.max_output_tokens)

    def charge(self, prompt: Prompt, completion: Completion) -> tuple[int, ...]:
        usage = completion.usage
        seen = usage.input_tokens + usage.cache_read_tokens + usage.cache_write_tokens
        if seen == 0:
            return self.reserve(prompt)  # a backend that does not count tokens
        wide = is_wide(prompt.question.response)
        self._tokens.learn(_characters(prompt), seen, wide=wide)
        return self._units(usage.input_tokens + usage.cache_write_tokens, usage.output_tokens)

    def _units(self, input_tokens: int, output_tokens: int) -> tuple[int, ...]:
        burnt = round(output_tokens * self._burndown)
        units = (1, input_tokens + burnt, input_tokens, output_tokens)
        return tuple([units[position] for position in self._order])


def assemble(
    settings: Settings,
    rubric: Rubric,
    environ: Mapping[str, str],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None = None,
) -> Assembly:
    """Builds everything and starts what runs in the background; `closing` ends it.

    model: used instead of the configured targets.

    Raises SettingsError.
    """
    tokens = LearnedRatio()
    variants = [settings] if model else list(_variants(settings))
    targets = tuple(
        [
            _target(
                variant,
                model or open_backend(variant, environ),
                tokens,
                sink,
                closing,
                environ=environ,
            )
            for variant in variants
        ]
    )
    per_prompt = _per_prompt(settings, rubric, targets, sink, closing)
    handlers = [target.handler() for target in targets]
    if len(handlers) == 1:
        return Assembly(stack(handlers[0], *per_prompt), per_prompt, targets, tokens)
    from judge_service.flow.failover import Failover  # noqa: PLC0415 - only what is used

    last = Failover(handlers, sink=sink)
    return Assembly(stack(last, *per_prompt), (*per_prompt, last), targets, tokens)


def assemble_each(
    settings: Settings,
    rubric: Rubric,
    environ: Mapping[str, str],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None = None,
) -> dict[str, Assembly]:
    """An assembly for each model that the rubric names, the settings' own under "".

    A model is a quota: each has limits of its own, with the numbers of `[limits]`. `failover.models`
    are other names of the settings' model and stand in for no other.

    Raises SettingsError.
    """
    names = dict.fromkeys(panel.model for panel in panels(rubric)) or {"": None}
    if any(names) and settings.backend == "local" and model is None:
        raise SettingsError(
            f"rubric {rubric.name}: `model` of a criterion needs a backend with more models than one;"
            " set `backend`, or drop it"
        )
    return {
        name: assemble(_judged_by(name, settings), rubric, environ, sink, closing, model=model)
        for name in names
    }


def _judged_by(model: str, settings: Settings) -> Settings:
    if not model:
        return settings
    return replace(settings, model=model, failover=replace(settings.failover, models=()))


def merged(assemblies: Mapping[str, Assembly]) -> Assembly:
    """The first with the targets of all."""
    first, *others = assemblies.values()
    more = [target for other in others for target in other.targets]
    return replace(first, targets=(*first.targets, *more))


def _variants(settings: Settings) -> list[Settings]:
    """The settings of each target: the configured one, then where it fails over to.

    Raises SettingsError for another model that was not explicitly allowed.
    """
    failover = settings.failover
    if settings.backend == "local" or not (failover.regions or failover.models):
        return [settings]
    if failover.regions and settings.backend != "bedrock":
        raise SettingsError("`failover.regions` is for the bedrock backend; use `failover.models`")
    for other in failover.models:
        if base_model(other) != base_model(settings.model) and not failover.allow_other_model:
            raise SettingsError(
                f"`failover.models`: {other} is another model than {settings.model}, which changes"
                " what is measured; set `failover.allow_other_model = true` if you mean it"
            )
    bedrock = settings.bedrock
    return [
        settings,
        *(replace(settings, bedrock=replace(bedrock, region=one)) for one in failover.regions),
        *(replace(settings, model=one) for one in failover.models),
    ]


def base_model(model: str) -> str:
    """A Bedrock model id without the geography of an inference profile."""
    geography, _, rest = model.partition(".")
    return rest if geography in GEOGRAPHIES else model


def _target(
    settings: Settings,
    backend: Backend,
    tokens: LearnedRatio,
    sink: Sink,
    closing: AsyncExitStack,
    *,
    environ: Mapping[str, str],
) -> Target:
    closing.push_async_callback(backend.aclose)
    name = " ".join(filter(None, (settings.backend, _region(settings), backend.model)))
    latencies = Latencies()
    limit = _rate_limit(settings.limits, tokens)
    slots = _slots(settings, latencies)
    detach = Detach()
    breaker = Breaker(target=name, sink=sink)
    shared = None
    if settings.limits.store != "none":
        shared = _share(settings, name, limit, sink, closing, environ=environ)
    closing.push_async_callback(detach.aclose, DRAIN_S)
    layers = (detach, Observe(target=name, sink=sink), breaker, limit, slots)
    quota = per_minute(settings.limits)
    return Target(backend, name, limit, slots, latencies, breaker, quota, shared, detach, layers)


def _slots(settings: Settings, latencies: Latencies) -> Concurrency | AdaptiveConcurrency:
    most = settings.limits.max_in_flight
    if settings.backend != "local":
        most = affordable(most)  # or calls would wait for a descriptor after they count as sent
    if settings.backend == "local" or not settings.limits.adaptive:
        return Concurrency(max_in_flight=most)  # the embedded judge is as slow as its queue is long
    return AdaptiveConcurrency(max_in_flight=most, latencies=latencies)


def per_minute(limits: LimitSettings) -> dict[str, float]:
    """The quota this process goes by, in the limiter's resource names: its part, or all with a store."""
    processes = limits.processes if limits.store == "none" else 1
    quota = {name: getattr(limits, f"{name}_per_minute") for name in RESOURCES}
    return {name: amount / processes for name, amount in quota.items() if amount is not None}


def _rate_limit(limits: LimitSettings, tokens: LearnedRatio) -> RateLimit[Prompt, Completion]:
    quota = per_minute(limits)
    cost = TokenCost(list(quota), burndown=limits.output_burndown, tokens=tokens)
    return RateLimit(
        limits={
            name: Limit(per_minute=amount, burst_s=limits.burst_s) for name, amount in quota.items()
        },
        reserve=cost.reserve,
        charge=cost.charge,
    )


def _share(
    settings: Settings,
    name: str,
    limit: RateLimit[Prompt, Completion],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    environ: Mapping[str, str],
) -> "QuotaLease":
    """Puts the limiter under the shared store."""
    quota = per_minute(settings.limits)
    if not quota:
        raise SettingsError(
            "`limits.store` shares a quota, but none is set; set `limits.requests_per_minute` or"
            " `limits.tokens_per_minute`"
        )
    from judge_service.flow.admission.lease import QuotaLease  # noqa: PLC0415 - only what is used

    store = _open_store(settings, environ, closing)
    closing.push_async_callback(store.aclose)
    key = settings.limits.store_key or name
    shared = QuotaLease(
        limit,
        store=store,
        quota=key,
        per_minute=quota,
        expected_clients=settings.limits.processes,
        sink=sink,
    )
    shared.start()
    closing.push_async_callback(shared.aclose)
    return shared


def _open_store(
    settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack
) -> QuotaStore:
    if settings.limits.store == "dynamodb":
        return _open_table(settings, environ, closing)
    try:
        from judge_service.flow.stores.redis import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(settings.limits.store_url)
    except ImportError as missing:
        raise SettingsError(
            f'`limits.store = "redis"` needs the package {missing.name}:'
            " pip install 'judge-service[redis]'"
        ) from None


def _open_table(
    settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack
) -> QuotaStore:
    """The quota's table, asked through our own client: a function's package holds no SDK."""
    from judge_service.aws.client import AwsClient  # noqa: PLC0415 - only what is used
    from judge_service.flow.stores.dynamodb import DynamoDBStore  # noqa: PLC0415 - see above

    client = AwsClient(environ, region=_region(settings))
    closing.push_async_callback(client.aclose)

    async def send(request: Mapping[str, Any]) -> tuple[int, bytes]:
        reply = await client.call("dynamodb", "DynamoDB_20120810.UpdateItem", request)
        return reply.status, reply.body

    return DynamoDBStore(settings.limits.store_url, send=send)


def _per_prompt(
    settings: Settings,
    rubric: Rubric,
    targets: Sequence[Target],
    sink: Sink,
    closing: AsyncExitStack,
) -> tuple[Any, ...]:
    first = targets[0]
    layers: list[Any] = [
        Deadline(),
        _cache(settings, rubric, first.backend.model, sink, closing),
        Coalesce(key=_key),
        _retry(settings, first.latencies, sink),
    ]
    if settings.hedge.enabled:
        from judge_service.flow.hedge import Hedge  # noqa: PLC0415 - only what is used

        layers.append(
            Hedge(
                budget_ratio=settings.hedge.budget,
                latencies=first.latencies,
                may_hedge=first.has_room,
                sink=sink,
            )
        )
    return tuple(layers)


def _cache(
    settings: Settings, rubric: Rubric, model: str, sink: Sink, closing: AsyncExitStack
) -> Cache[Prompt, Completion]:
    cache, judge = settings.cache, _judge(settings, model)
    all_asked = panels(rubric)

    def asked(prompt: Prompt) -> Rubric:
        """The part of the rubric that a prompt is about."""
        criteria = prompt.question.criteria
        return next((panel for panel in all_asked if panel.criteria == criteria), rubric)

    store = None
    if cache.redis_url:
        from judge_service.flow.cache_redis import RedisCache, connect  # noqa: PLC0415 - an extra

        store = RedisCache(
            connect(cache.redis_url),
            ttl_s=cache.ttl_s,
            encode=msgspec.msgpack.encode,
            decode=msgspec.msgpack.Decoder(Completion).decode,
        )
        closing.push_async_callback(store.aclose)
    return Cache(
        max_entries=cache.max_entries,
        ttl_s=cache.ttl_s,
        key=lambda prompt: f"{judge}:{prompt.key}",  # the prompt's own key does not name the judge
        keep=lambda prompt, completion: has_verdict(prompt, completion, asked(prompt)),
        mark=_as_cached,
        sink=sink,
        store=store,
    )


def _judge(settings: Settings, model: str) -> str:
    """Names all of the judge that can change an answer, or how it is read."""
    parts = [model]
    if settings.backend == "sagemaker":
        asked = settings.sagemaker
        parts += [asked.inference_component, asked.model_name, asked.reasoning_effort or ""]
    if top := logprobs_of(settings):
        parts.append(f"logprobs {top}")
    return "/".join(parts)


def _region(settings: Settings) -> str | None:
    chosen = settings.sagemaker if settings.backend == "sagemaker" else settings.bedrock
    return chosen.region


def _retry(settings: Settings, latencies: Latencies, sink: Sink) -> Retry:
    retry = settings.retry
    return Retry(
        max_attempts=retry.max_attempts,
        max_throttled=retry.max_throttled,
        base_s=retry.base_s,
        throttled_base_s=retry.throttled_base_s,
        cap_s=retry.cap_s,
        budget=RetryBudget(ratio=retry.budget_ratio, per_s=retry.budget_per_s),
        sink=sink,
        typical_s=lambda: latencies.quantile_s(0.5),
    )


def _characters(prompt: Prompt) -> int:
    return sum([len(message.content) for message in prompt.messages])


def _key(prompt: Prompt) -> str:
    return prompt.key


def _as_cached(completion: Completion) -> Completion:
    return replace(completion, cached=True, usage=NO_USAGE)
