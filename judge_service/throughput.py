"""Computes the throughput that a quota allows: evaluations a second, and the resource that limits them."""

from collections.abc import Mapping

from msgspec import Struct

from judge_service.settings import LimitSettings


class Throughput(Struct, frozen=True, kw_only=True):
    """The steady rate that the quota of one target allows, if the judge itself is fast enough.

    calls_each: judge calls of one evaluation.
    input_tokens, output_tokens: tokens of one call; the output is the allowed one, so the real rate is at
        least the computed one.
    read_tokens: of the input, what the judge reads from its prompt cache and does not count, on the mean.
    by_resource: evaluations a second that each configured resource allows, by the setting's name.
    max_in_flight: most calls on the wire at the same time.
    """

    calls_each: int
    input_tokens: int
    output_tokens: int
    by_resource: Mapping[str, float]
    max_in_flight: int
    read_tokens: int = 0

    @property
    def bound_by(self) -> str | None:
        """The setting that limits the rate; `None` when no quota is configured."""
        return min(self.by_resource, key=self.by_resource.__getitem__, default=None)

    @property
    def evaluations_per_s(self) -> float | None:
        """The rate that this setting allows."""
        return min(self.by_resource.values(), default=None)

    @property
    def longest_call_s(self) -> float | None:
        """The latency of a call above which `max_in_flight` limits the rate, not the quota (Little's law).

        For example, 512 calls in flight at 100 calls/s allow 5.12 s for each.
        """
        rate = self.evaluations_per_s
        return None if rate is None else self.max_in_flight / (rate * self.calls_each)

    def lines(self) -> list[str]:
        """A description in sentences, one a line."""
        if not self.calls_each:
            return ["no judge is called, so no quota limits the rate"]
        size = f"{self.calls_each} call(s) of {self.input_tokens:,} + {self.output_tokens:,} tokens"
        if self.read_tokens:
            size += f" ({self.read_tokens:,} read from the judge's prompt cache)"
        if self.bound_by is None:
            return [
                f"{size} each; no quota is set under [limits], so only the judge limits the rate"
            ]
        rows = sorted(self.by_resource.items(), key=lambda item: item[1])
        return [
            f"{self.evaluations_per_s:,.1f} evaluations/s at {size} each, limited by {self.bound_by}",
            *(f"{name} allows {rate:,.1f} evaluations/s" for name, rate in rows),
            (
                f"limits.max_in_flight = {self.max_in_flight:,} limits instead when a call takes longer"
                f" than {self.longest_call_s:,.2f} s"
            ),
        ]


def expect(
    limits: LimitSettings,
    *,
    input_tokens: int,
    output_tokens: int,
    calls_each: int = 1,
    read_tokens: int = 0,
) -> Throughput:
    """Computes the throughput of a quota for calls of one size."""
    counted = input_tokens - read_tokens
    burnt = output_tokens * limits.output_burndown
    units = {
        "requests_per_minute": 1.0,
        "tokens_per_minute": counted + burnt,
        "input_tokens_per_minute": float(counted),
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
        read_tokens=read_tokens,
    )
