"""The throughput that a quota allows: evaluations a second, and the resource that is used up first."""

from collections.abc import Mapping

from msgspec import Struct

from judge_service.settings import LimitSettings


class Throughput(Struct, frozen=True, kw_only=True):
    """The steady rate to expect of one target, before the judge itself is too slow.

    calls_each: judge calls of one evaluation.
    input_tokens, output_tokens: of one call; the output is what is allowed, so the rate is a floor.
    by_resource: evaluations a second that each configured resource allows, by the setting's name.
    max_in_flight: calls on the wire at once.
    """

    calls_each: int
    input_tokens: int
    output_tokens: int
    by_resource: Mapping[str, float]
    max_in_flight: int

    @property
    def bound_by(self) -> str | None:
        """The setting that is used up first; `None` when no quota is configured."""
        return min(self.by_resource, key=self.by_resource.__getitem__, default=None)

    @property
    def evaluations_per_s(self) -> float | None:
        """What that setting allows."""
        return min(self.by_resource.values(), default=None)

    @property
    def longest_call_s(self) -> float | None:
        """Above this latency of a call the slots bind and not the quota (Little's law)."""
        rate = self.evaluations_per_s
        return None if rate is None else self.max_in_flight / (rate * self.calls_each)

    def lines(self) -> list[str]:
        """The same for a reader."""
        if not self.calls_each:
            return ["no judge is called, so no quota of one binds"]
        size = f"{self.calls_each} call(s) of {self.input_tokens:,} + {self.output_tokens:,} tokens"
        if self.bound_by is None:
            return [
                f"{size} each; no quota is set under [limits], so only the judge limits the rate"
            ]
        rows = sorted(self.by_resource.items(), key=lambda item: item[1])
        return [
            f"{self.evaluations_per_s:,.1f} evaluations/s at {size} each, bound by {self.bound_by}",
            *(f"{name} allows {rate:,.1f} evaluations/s" for name, rate in rows),
            (
                f"limits.max_in_flight = {self.max_in_flight:,} binds instead when a call takes longer"
                f" than {self.longest_call_s:,.2f} s"
            ),
        ]


def expect(
    limits: LimitSettings, *, input_tokens: int, output_tokens: int, calls_each: int = 1
) -> Throughput:
    """The throughput of this quota for calls of this size."""
    burnt = output_tokens * limits.output_burndown
    units = {
        "requests_per_minute": 1.0,
        "tokens_per_minute": input_tokens + burnt,
        "input_tokens_per_minute": float(input_tokens),
        "output_tokens_per_minute": float(output_tokens),
    }
    quota = {name: getattr(limits, name) for name in units}
    return Throughput(
        calls_each=calls_each,
        input_tokens=input_tokens,
        output_tokens=output_tokens,
        by_resource={
            f"limits.{name}": quota[name] / limits.processes / 60 / (each * calls_each)
            for name, each in units.items()
            if quota[name] is not None
        },
        max_in_flight=limits.max_in_flight,
    )
