"""Opens a gate without a judge, for benchmarks of the gate and of quota leases."""

from collections.abc import Mapping
from typing import Any

from judge_service.flow.admission.adaptive import AdaptiveLimit
from judge_service.flow.admission.breaker import Breaker
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.admission.gate import Gate
from judge_service.flow.admission.slots import Slots
from judge_service.flow.admission.throttle import Throttle
from judge_service.flow.latencies import Latencies
from judge_service.telemetry.events import ignore

MAX_IN_FLIGHT = 1000


def open_gate(quota: Mapping[str, float], costs: tuple[int, ...]) -> Gate[Any, Any]:
    """Opens a gate like the service. quota: units a minute. costs: of each call, in the quota's order."""
    return Gate(
        limits={name: Limit(per_minute=amount) for name, amount in quota.items()},
        reserve=lambda _body: costs,
        charge=lambda _body, _result: costs,
        slots=Slots(max_in_flight=MAX_IN_FLIGHT, adaptive=AdaptiveLimit(max_slots=MAX_IN_FLIGHT)),
        breaker=Breaker(target="loadtest", sink=ignore),
        throttle=Throttle(),
        latencies=Latencies(),
    )
