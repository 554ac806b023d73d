"""Builds one target of a judge from the settings: backend, gate, and the store that shares its quota."""

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from judge_service.assembly.token_cost import TokenCost
from judge_service.backends import Backend
from judge_service.backends.prompt_cache import PromptCaching
from judge_service.errors import SettingsError
from judge_service.flow import Handler, stack
from judge_service.flow.admission.adaptive import AdaptiveLimit
from judge_service.flow.admission.breaker import Breaker
from judge_service.flow.admission.gate import Gate, Limit
from judge_service.flow.admission.slots import Slots
from judge_service.flow.admission.throttle import Throttle
from judge_service.flow.admission.tokens import LearnedRatio
from judge_service.flow.latencies import Latencies
from judge_service.flow.leader import LeaderFirst
from judge_service.flow.observe import Observe
from judge_service.flow.stores import QuotaStore
from judge_service.http.descriptors import affordable
from judge_service.settings import LimitSettings, Settings
from judge_service.telemetry.events import Sink
from judge_service.telemetry.state import QuotaState, TargetState
from judge_service.values import Completion, Prompt

if TYPE_CHECKING:  # imported where they are used: a cold start pays for every module
    from judge_service.flow.admission.lease import QuotaLease


class Target(Struct, frozen=True):
    """A target: an account's quota for one model in one region, with a backend and a gate.

    quota: units a minute by resource, see `per_minute`. shared: the lease if a store shares the quota.
    """

    backend: Backend
    name: str
    gate: Gate[Prompt, Completion]
    latencies: Latencies
    quota: Mapping[str, float]
    shared: "QuotaLease | None"
    layers: tuple[Any, ...]

    def handler(self) -> Handler[Prompt, Completion]:
        return stack(self.backend, *self.layers)

    def state(self) -> TargetState:
        """The present state of the gate."""
        gate = self.gate.statistics()
        return TargetState(
            target=self.name,
            breaker=gate.breaker,
            waiting_by_lane=gate.waiting_by_lane,
            bound_by=gate.bound_by,
            in_flight=gate.in_flight,
            slots=gate.slots,
            sent=gate.granted,
            throttled=gate.throttled,
            refused_share=gate.throttle.refused_share,
            throttle_level=gate.throttle.level / gate.throttle.most,
            quota=tuple(
                QuotaState(
                    resource=name,
                    per_minute=amount,
                    spent=gate.charged[name] + gate.reserved[name],
                )
                for name, amount in self.quota.items()
            ),
            is_shared=self.shared is not None,
        )


def open_target(
    settings: Settings,
    backend: Backend,
    tokens: LearnedRatio,
    sink: Sink,
    closing: AsyncExitStack,
    *,
    environ: Mapping[str, str],
    caching: PromptCaching | None = None,
) -> Target:
    """Builds a target and starts its background tasks; `closing` ends them.

    caching: what the backend is asked to keep of prompts.

    Raises SettingsError.
    """
    closing.push_async_callback(backend.aclose)
    name = " ".join(filter(None, (settings.backend, region_of(settings), backend.model)))
    latencies = Latencies()
    leader = (
        None if caching is None else _leader(settings, caching, latencies, lambda: gate.waiting > 0)
    )
    cost = TokenCost(
        list(per_minute(settings.limits)),
        burndown=settings.limits.output_burndown,
        tokens=tokens,
        reads_are_free=settings.backend not in CHAT_BACKENDS,
        has_beginning=None if leader is None else leader.has,
    )
    gate = _gate(settings, name, latencies, cost, sink)
    shared = None
    if settings.limits.store != "none":
        shared = _share(settings, name, gate, sink, closing, environ=environ)
    observe = Observe(target=name, sink=sink)
    layers = (observe, gate) if leader is None else (observe, leader, gate)
    return Target(backend, name, gate, latencies, per_minute(settings.limits), shared, layers)


def region_of(settings: Settings) -> str | None:
    """The region that the settings name for their backend."""
    chosen = settings.sagemaker if settings.backend == "sagemaker" else settings.bedrock
    return chosen.region


def per_minute(limits: LimitSettings) -> dict[str, float]:
    """The quota of this process, by the limiter's resource names: its part, or all of it with a store."""
    processes = limits.processes if limits.store == "none" else 1
    return {
        name.removesuffix("_per_minute"): amount / processes
        for name, amount in limits.quota().items()
    }


def _gate(
    settings: Settings, name: str, latencies: Latencies, cost: TokenCost, sink: Sink
) -> Gate[Prompt, Completion]:
    limits = settings.limits
    quota = per_minute(limits)
    slots = _slots(settings)
    return Gate(
        limits={
            resource: Limit(per_minute=amount, burst_s=limits.burst_s)
            for resource, amount in quota.items()
        },
        reserve=cost.reserve,
        charge=cost.charge,
        slots=slots,
        breaker=Breaker(target=name, sink=sink),
        throttle=Throttle() if quota else Throttle(most=slots.limit),
        latencies=latencies,
    )


CHAT_BACKENDS = frozenset({"openai", "sagemaker"})
"""Their quotas count what is read from a cache, and their answers do not tell what was written to it."""


def _leader(
    settings: Settings,
    caching: PromptCaching,
    latencies: Latencies,
    is_busy: Callable[[], bool],
) -> LeaderFirst[Prompt, Completion]:
    return LeaderFirst(
        key=caching.key,
        tokens=_of_cache,
        tells_writes=settings.backend not in CHAT_BACKENDS,
        typical_s=lambda: latencies.quantile_s(0.5),
        is_busy=is_busy,
    )


def _of_cache(completion: Completion) -> tuple[int, int]:
    return completion.usage.cache_read_tokens, completion.usage.cache_write_tokens


def _slots(settings: Settings) -> Slots:
    most = settings.limits.max_in_flight
    if settings.backend == "local":  # its latency is that of its queue
        return Slots(max_in_flight=most)
    most = affordable(most)  # else calls would wait for a descriptor after they count as sent
    adaptive = AdaptiveLimit(max_slots=most) if settings.limits.adaptive else None
    return Slots(max_in_flight=most, adaptive=adaptive)


def _share(
    settings: Settings,
    name: str,
    gate: Gate[Prompt, Completion],
    sink: Sink,
    closing: AsyncExitStack,
    *,
    environ: Mapping[str, str],
) -> "QuotaLease":
    """Lets the gate lease its quota from the shared store."""
    quota = per_minute(settings.limits)
    if not quota:
        raise SettingsError(
            "`limits.store` shares a quota, but no quota is set; set `limits.requests_per_minute` or"
            " `limits.tokens_per_minute`"
        )
    from judge_service.flow.admission.lease import QuotaLease  # noqa: PLC0415 - only what is used

    store = _open_store(settings, environ, closing)
    closing.push_async_callback(store.aclose)
    key = settings.limits.store_key or name
    shared = QuotaLease(
        gate,
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
    if settings.limits.store == "file":
        return _open_file(settings.limits.store_url)
    try:
        from judge_service.flow.stores.redis import RedisStore  # noqa: PLC0415 - an extra

        return RedisStore(settings.limits.store_url)
    except ImportError as missing:
        raise SettingsError(
            f'`limits.store = "redis"` needs the package {missing.name}:'
            " pip install 'judge-service[redis]'"
        ) from None


def _open_file(path: str) -> QuotaStore:
    from judge_service.flow.stores.file import FileStore  # noqa: PLC0415 - only what is used

    try:
        return FileStore(path)
    except OSError as problem:
        raise SettingsError(
            f"`limits.store_url`: the file {path} cannot be opened ({problem.strerror}); choose another"
        ) from problem


def _open_table(
    settings: Settings, environ: Mapping[str, str], closing: AsyncExitStack
) -> QuotaStore:
    """The quota's table, with our own client, because the function's package has no SDK."""
    from judge_service.aws.client import AwsClient  # noqa: PLC0415 - only what is used
    from judge_service.flow.stores.dynamodb import DynamoDBStore  # noqa: PLC0415 - see above

    client = AwsClient(environ, region=region_of(settings))
    closing.push_async_callback(client.aclose)

    async def send(request: Mapping[str, Any]) -> tuple[int, bytes]:
        reply = await client.call("dynamodb", "DynamoDB_20120810.UpdateItem", request)
        return reply.status, reply.body

    return DynamoDBStore(settings.limits.store_url, send=send)
