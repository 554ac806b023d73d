"""Spells: storms, outages, slow spells and other tenants, each for a limited time."""

from collections.abc import Sequence
from math import inf
from typing import Literal, TypeAlias, cast

from msgspec import Struct

from judge_service.simulator.faults import Fault, names

Kind: TypeAlias = Fault | Literal["slow", "tenant"]
KINDS = (*names(), "slow", "tenant")


class Spell(Struct, frozen=True, forbid_unknown_fields=True):
    """A condition that holds for a limited time. Times are seconds after the simulator's first call.

    kind: `slow` gives calls another latency; `tenant` is another user of the same quota, who is always
        served first; the name of a fault, such as `throttle` (a storm) or `unavailable` (an outage), makes
        calls fail that way.
    at_s: when it begins. for_s: how long it lasts, `None` for ever.
    every_s: seconds from one beginning to the next, at least `for_s`; `None` for once.
    value: of a fault, the share of the calls that meet it, in (0, 1]; of `slow`, the median latency in
        seconds, above 0; of `tenant`, the share of the quota that it takes, in (0, 1).

    Example: `Spell("tenant", at_s=30, for_s=30, every_s=60, value=0.7)` takes 70 % of the quota from
    30 s to 60 s, from 90 s to 120 s and so on.
    """

    kind: Kind
    at_s: float = 0.0
    for_s: float | None = None
    every_s: float | None = None
    value: float = 1.0

    def lasted_s(self, until_s: float) -> float:
        """How many of the first `until_s` seconds the spell held."""
        since_s = max(until_s - self.at_s, 0.0)
        for_s = inf if self.for_s is None else self.for_s
        if self.every_s is None:
            return min(since_s, for_s)
        turns, rest_s = divmod(since_s, self.every_s)
        return turns * min(for_s, self.every_s) + min(rest_s, for_s)

    def holds(self, at_s: float) -> bool:
        """Whether the spell holds at this second."""
        since_s = at_s - self.at_s
        if self.every_s is not None and since_s >= 0:
            since_s %= self.every_s
        return 0 <= since_s < (inf if self.for_s is None else self.for_s)


class Spells:
    """All spells of one simulator, on its clock.

    The first reading of the clock, in any method, is second 0 of every spell.
    """

    def __init__(self, spells: Sequence[Spell]) -> None:
        self._slow = [spell for spell in spells if spell.kind == "slow"]
        self._tenants = [spell for spell in spells if spell.kind == "tenant"]
        self._faults = [spell for spell in spells if spell.kind not in ("slow", "tenant")]
        self._begun_s: float | None = None

    def fault(self, drawn: float, now_s: float) -> tuple[Fault | None, float]:
        """The fault of a call and the rest of the draw, uniform in [0, 1) when there is no fault."""
        since_s = self._since(now_s)
        for spell in self._faults:
            if spell.holds(since_s):
                if drawn < spell.value:
                    return cast("Fault", spell.kind), drawn
                drawn = (drawn - spell.value) / (1 - spell.value)
        return None, drawn

    def latency_median_s(self, usual_s: float, now_s: float) -> float:
        """The median latency of a call that arrives now."""
        since_s = self._since(now_s)
        return next((spell.value for spell in self._slow if spell.holds(since_s)), usual_s)

    def taken_s(self, begin_s: float, end_s: float) -> float:
        """Seconds' worth of quota that other tenants take between two readings of the clock."""
        begin_s, end_s = self._since(begin_s), self._since(end_s)
        taken_s = sum(
            spell.value * (spell.lasted_s(end_s) - spell.lasted_s(begin_s))
            for spell in self._tenants
        )
        return min(taken_s, end_s - begin_s)

    def _since(self, now_s: float) -> float:
        if self._begun_s is None:
            self._begun_s = now_s
        return now_s - self._begun_s

    def __repr__(self) -> str:
        return f"<Spells {len(self._faults) + len(self._slow) + len(self._tenants)}>"


def problems(spells: Sequence[Spell]) -> list[str]:
    """What is wrong with the spells, one line each."""
    return [f"spell {spell.kind}: {text}" for spell in spells for text in _problems(spell)]


def _problems(spell: Spell) -> list[str]:
    found = []
    if spell.kind not in KINDS:
        found.append("kind is unknown, use `slow`, `tenant` or the name of a fault")
    if not 0 <= spell.at_s < inf:
        found.append(f"at_s is {spell.at_s}, use 0 or more")
    if spell.for_s is not None and not 0 < spell.for_s < inf:
        found.append(f"for_s is {spell.for_s}, use more than 0")
    if spell.every_s is not None and not (spell.for_s or inf) <= spell.every_s < inf:
        found.append(f"every_s is {spell.every_s}, use for_s ({spell.for_s}) or more")
    if spell.kind == "slow" and not 0 < spell.value < inf:
        found.append(f"value is {spell.value}, use a latency above 0")
    if spell.kind == "tenant" and not 0 < spell.value < 1:
        found.append(f"value is {spell.value}, use a share of the quota above 0 and below 1")
    if spell.kind not in ("slow", "tenant") and not 0 < spell.value <= 1:
        found.append(f"value is {spell.value}, use a share of the calls above 0 and at most 1")
    return found
