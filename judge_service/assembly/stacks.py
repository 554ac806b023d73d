"""Builds the stacks around the judge from the settings: the layers, their order and their numbers.

`docs/architecture.md` gives the order and its reasons; `judge explain` prints the assembled stacks.
"""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from judge_service.assembly.instrument import digest_of, judge_of
from judge_service.assembly.targets import Target, open_target
from judge_service.backends import Backend, open_backend
from judge_service.backends.prompt_cache import PromptCaching, min_tokens
from judge_service.errors import SettingsError
from judge_service.flow import Handler, stack
from judge_service.flow.admission.fair_queue import weigh_lane
from judge_service.flow.admission.tokens import LearnedRatio
from judge_service.flow.cache import Cache
from judge_service.flow.coalesce import Coalesce
from judge_service.flow.deadline import Deadline
from judge_service.flow.detach import Detached
from judge_service.flow.latencies import Latencies
from judge_service.flow.retry import Retry, RetryBudget
from judge_service.grading import Rubric, has_verdict, panels
from judge_service.settings import Settings
from judge_service.telemetry.events import Sink
from judge_service.values import NO_USAGE, Channel, Completion, Prompt

DRAIN_S = 2.0
"""How long closing waits for calls whose caller has gone, seconds."""

GEOGRAPHIES = frozenset({"us", "eu", "apac", "jp", "au", "ca", "global", "us-gov"})
"""Prefixes of cross-region inference profiles, which name the same model in other regions."""


class Assembly(Struct, frozen=True):
    """An assembled judge. `model` is the judge with all flow control around it.

    detached: the calls whose caller has gone.
    """

    model: Handler[Prompt, Completion]
    per_prompt: tuple[Any, ...]
    targets: tuple[Target, ...]
    tokens: LearnedRatio
    detached: Detached

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The answer channels that all targets support, in the order of the first."""
        return tuple(
            channel
            for channel in self.targets[0].backend.channels
            if all(channel in target.backend.channels for target in self.targets)
        )


def assemble(
    settings: Settings,
    rubric: Rubric,
    environ: Mapping[str, str],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None = None,
    detached: Detached | None = None,
) -> Assembly:
    """Builds the stacks and starts their background tasks; `closing` ends them.

    model: replaces the configured targets.
    detached: takes the calls whose caller has gone; by default a new one.

    Raises SettingsError.
    """
    tokens = LearnedRatio()
    variants = [settings] if model else list(_variants(settings))
    targets = tuple(
        [_open(variant, environ, tokens, sink, closing, model=model) for variant in variants]
    )
    detached = detached or Detached()
    closing.push_async_callback(detached.aclose, DRAIN_S)
    judge = digest_of(judge_of(settings, targets[0].backend.model, environ))
    per_prompt = _per_prompt(
        settings, rubric, targets, sink, closing, judge=judge, detached=detached
    )
    handlers = [target.handler() for target in targets]
    if len(handlers) == 1:
        return Assembly(stack(handlers[0], *per_prompt), per_prompt, targets, tokens, detached)
    from judge_service.flow.failover import Failover  # noqa: PLC0415 - only what is used

    last = Failover(handlers, sink=sink)
    return Assembly(stack(last, *per_prompt), (*per_prompt, last), targets, tokens, detached)


def _open(
    settings: Settings,
    environ: Mapping[str, str],
    tokens: LearnedRatio,
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None,
) -> Target:
    fewest = min_tokens(settings)
    caching = None if fewest is None else PromptCaching(fewest, count_tokens=tokens.estimate_texts)
    backend = model or open_backend(settings, environ, caching)
    return open_target(settings, backend, tokens, sink, closing, environ=environ, caching=caching)


def assemble_each(
    settings: Settings,
    rubric: Rubric,
    environ: Mapping[str, str],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    model: Backend | None = None,
) -> dict[str, Assembly]:
    """An assembly for each model that the rubric names, and that of the settings under "".

    Each model has a separate quota with the numbers of `[limits]`. `failover.models` replace only the model
    of the settings.

    Raises SettingsError.
    """
    names = dict.fromkeys(panel.model for panel in panels(rubric)) or {"": None}
    if any(names) and settings.backend == "local" and model is None:
        raise SettingsError(
            f"rubric {rubric.name}: `model` of a criterion needs a backend with several models;"
            " set `backend`, or remove `model`"
        )
    detached = Detached()
    return {
        name: assemble(
            _judged_by(name, settings),
            rubric,
            environ,
            sink,
            closing,
            model=model,
            detached=detached,
        )
        for name in names
    }


def _judged_by(model: str, settings: Settings) -> Settings:
    if not model:
        return settings
    return replace(settings, model=model, failover=replace(settings.failover, models=()))


def merged(assemblies: Mapping[str, Assembly]) -> Assembly:
    """The first assembly, with the targets of all."""
    first, *others = assemblies.values()
    more = [target for other in others for target in other.targets]
    return replace(first, targets=(*first.targets, *more))


def _variants(settings: Settings) -> list[Settings]:
    """The settings of each target: the configured one, then those of failover.

    Raises SettingsError for another model if `failover.allow_other_model` is not set.
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
                " what is measured; set `failover.allow_other_model = true` to allow it"
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


def _per_prompt(
    settings: Settings,
    rubric: Rubric,
    targets: Sequence[Target],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    judge: str,
    detached: Detached,
) -> tuple[Any, ...]:
    first = targets[0]
    layers: list[Any] = [
        Deadline(),
        _cache(settings, rubric, judge, sink, closing),
        Coalesce(key=_key, weight=weigh_lane, detached=detached),
        _retry(settings, first.latencies, sink),
    ]
    if settings.hedge.enabled:
        from judge_service.flow.hedge import Hedge  # noqa: PLC0415 - only what is used

        layers.append(
            Hedge(
                budget_ratio=settings.hedge.budget,
                latencies=first.latencies,
                may_hedge=first.gate.has_room,
                detached=detached,
                sink=sink,
            )
        )
    return tuple(layers)


def _cache(
    settings: Settings, rubric: Rubric, judge: str, sink: Sink, closing: AsyncExitStack
) -> Cache[Prompt, Completion]:
    """Makes the cache. judge: a hash of everything about the judge that can change an answer."""
    cache = settings.cache
    all_asked = panels(rubric)

    def asked(prompt: Prompt) -> Rubric:
        """The panel of the rubric that a prompt asks about."""
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
        key=lambda prompt: f"{judge}:{prompt.key}",  # the prompt's key does not include the judge
        keep=lambda prompt, completion: has_verdict(prompt, completion, asked(prompt)),
        mark=_as_cached,
        sink=sink,
        store=store,
    )


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


def _key(prompt: Prompt) -> str:
    return prompt.key


def _as_cached(completion: Completion) -> Completion:
    return replace(completion, cached=True, usage=NO_USAGE)
