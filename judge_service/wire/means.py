"""Running means of each tenant's scores, per group for a limited time and for the whole process."""

from collections import OrderedDict
from collections.abc import Callable, Iterable

from msgspec import Struct

MAX_REMEMBERED = 50_000
"""Most group means kept, one per tenant, group, and column (15 MB). The least recently used goes first."""

MAX_TENANTS_COLUMNS = 10_000
"""Most means over all groups kept, one per tenant and column; the least recently used is dropped first."""


class Means:
    """Means of the scores that this process has given. Each tenant's scores are separate.

    memory_s: how long a group's mean is kept after its last score, seconds; 0 keeps none.
    now: clock, seconds.
    """

    def __init__(
        self,
        *,
        memory_s: float,
        now: Callable[[], float],
        max_remembered: int = MAX_REMEMBERED,
    ) -> None:
        self._memory_s = memory_s
        self._now = now
        self._max_remembered = max_remembered
        self._groups: OrderedDict[tuple[str, str, str], _Sum] = OrderedDict()
        self._process: OrderedDict[tuple[str, str], _Sum] = OrderedDict()

    def __len__(self) -> int:
        return len(self._groups)

    def __repr__(self) -> str:
        return f"<Means {len(self)} of {self._max_remembered} remembered, {self._memory_s:g} s>"

    def add(
        self, column: str, scored: Iterable[tuple[str, float | None]], tenant: str = ""
    ) -> None:
        """Adds the scores of one column, each with its group ("" for none)."""
        for group, (total, count) in _totals(scored).items():
            self._count((tenant, column), total, count)
            if group and self._memory_s > 0:
                self._remember((tenant, group, column), total, count)

    def of_group(self, group: str, column: str, tenant: str = "") -> float | None:
        """The group's mean, `None` when it is not kept."""
        known = self._groups.get((tenant, group, column))
        return None if known is None or self._is_old(known) else known.total / known.count

    def of_process(self, column: str, tenant: str = "") -> float | None:
        """The mean of all scores of this tenant, `None` when there are none."""
        known = self._process.get((tenant, column))
        return None if known is None else known.total / known.count

    def _count(self, key: tuple[str, str], total: float, count: int) -> None:
        known = self._process.pop(key, None) or _Sum()
        known.add(total, count)
        self._process[key] = known
        if len(self._process) > MAX_TENANTS_COLUMNS:
            self._process.popitem(last=False)

    def _remember(self, key: tuple[str, str, str], total: float, count: int) -> None:
        known = self._groups.pop(key, None)
        if known is None or self._is_old(known):
            known = _Sum()
        known.add(total, count)
        known.at = self._now()
        self._groups[key] = known
        while len(self._groups) > self._max_remembered or self._is_old(self._oldest()):
            self._groups.popitem(last=False)

    def _oldest(self) -> "_Sum":
        return next(iter(self._groups.values()))

    def _is_old(self, known: "_Sum") -> bool:
        return self._now() - known.at >= self._memory_s


class _Sum(Struct):
    total: float = 0.0
    count: int = 0
    at: float = 0.0

    def add(self, total: float, count: int) -> None:
        self.total += total
        self.count += count


def means_of(scored: Iterable[tuple[str, float | None]]) -> dict[str, float]:
    """The mean of each group that has a score."""
    return {group: total / count for group, (total, count) in _totals(scored).items()}


def _totals(scored: Iterable[tuple[str, float | None]]) -> dict[str, tuple[float, int]]:
    totals: dict[str, tuple[float, int]] = {}
    for group, score in scored:
        if score is not None:
            total, count = totals.get(group, (0.0, 0))
            totals[group] = (total + score, count + 1)
    return totals
