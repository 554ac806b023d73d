"""Builds gates for tests from the same parts as the service."""

from collections.abc import Callable, Mapping
from typing import Any

from judge_service.flow.admission.adaptive import AdaptiveLimit
from judge_service.flow.admission.breaker import Breaker
from judge_service.flow.admission.bucket import Limit
from judge_service.flow.admission.gate import Gate
from judge_service.flow.admission.slots import Slots
from judge_service.flow.admission.throttle import Throttle
from judge_service.flow.latencies import Latencies
from judge_service.telemetry.events import Sink, ignore

MANY = 10_000
"""Slots that bind in no test that does not say so."""

Units = tuple[int, ...]


def new_gate(
    limits: Mapping[str, Limit] | None = None,
    *,
    reserve: Callable[[Any], Units] | None = None,
    charge: Callable[[Any, Any], Units] | None = None,
    max_in_flight: int = MANY,
    adaptive: bool = False,
    latencies: Latencies | None = None,
    sink: Sink = ignore,
    target: str = "here",
) -> Gate[Any, Any]:
    """A gate. By default a call costs one unit of each limit, and is charged what it reserved."""
    quota = dict(limits or {})
    costs = reserve or (lambda _: (1,) * len(quota))
    slots = Slots(
        max_in_flight=max_in_flight,
        adaptive=AdaptiveLimit(max_slots=max_in_flight) if adaptive else None,
    )
    return Gate(
        limits=quota,
        reserve=costs,
        charge=charge or (lambda body, _: costs(body)),
        slots=slots,
        breaker=Breaker(target=target, sink=sink),
        throttle=Throttle() if quota else Throttle(most=slots.limit),
        latencies=latencies or Latencies(),
    )


def assert_nothing_held(gate: Gate[Any, Any]) -> None:
    """No caller, slot, unit, timer or probe is left in the gate."""
    seen = gate.statistics()
    assert (seen.waiting, seen.in_flight) == (0, 0)
    assert set(seen.reserved.values()) <= {0}
    assert not gate._alarm.is_set
    assert not any(gate._queued)
    assert gate._breaker.statistics().probing == 0
