"""Figures of the runs of a scenario, from the judge's counts at every second."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from measuring import at_least, at_most, spread
from msgspec import Struct
from scenario import SETTLED_S, WARM_UP_S, Scenario

RATE_OVER_S = 3
"""The rate after a storm is looked at over so many seconds."""


class Reading(Struct, frozen=True, kw_only=True):
    """What the judge had counted. at_s: seconds since the load began.

    sent: calls that arrived. accepted: by the quota. answered: well, in the end.
    """

    at_s: float
    sent: int
    answered: int
    accepted: int
    refused_by_quota: int
    refused_at_random: int
    refused_in_storm: int

    @property
    def refused(self) -> int:
        return self.refused_by_quota + self.refused_at_random + self.refused_in_storm


class Run(Struct, frozen=True):
    """A scenario that was run with a seed, read every second. worst_sent: in any 60 s."""

    scenario: Scenario
    seed: int
    readings: list[Reading]
    worst_sent: float
    graded: int
    unscored: int

    def at(self, second: float) -> Reading:
        """The first reading from this second on."""
        place = bisect_left(self.readings, second, key=lambda reading: reading.at_s)
        return self.readings[min(place, len(self.readings) - 1)]

    @property
    def last(self) -> Reading:
        return self.readings[-1]

    def used_percent(self, count: str, begin_s: float, end_s: float | None = None) -> float:
        """Of the quota that others left, between two seconds. count: a field of `Reading`."""
        begin, end = self.at(begin_s), self.last if end_s is None else self.at(end_s)
        left = self.scenario.left_s(begin.at_s, end.at_s) * self.scenario.per_minute / 60
        return 100 * (getattr(end, count) - getattr(begin, count)) / left if left else 0.0

    def refused_percent(self, begin_s: float) -> float:
        """Of what was sent from this second on."""
        begin = self.at(begin_s)
        sent = self.last.sent - begin.sent
        return 100 * (self.last.refused - begin.refused) / sent if sent else 100.0


def figures_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """What is asked of a scenario, of its worst run."""
    name = runs[0].scenario.name.replace("_", " ")
    return FIGURES[runs[0].scenario.asks](name, runs)


def goodput(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    asked = runs[0].scenario.at_least
    least = min(map(goodput_percent, runs))
    return [at_least(f"{name}: goodput", least, asked, "%")]


def goodput_percent(run: Run) -> float:
    """Good answers from the sixth second on, of the quota less the share that is refused at random."""
    return run.used_percent("answered", WARM_UP_S) / (1 - run.scenario.refused_share)


def tenant(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    used = min(run.used_percent("accepted", WARM_UP_S) for run in runs)
    refused = max(run.refused_percent(WARM_UP_S) for run in runs)
    return [
        at_least(f"{name}: of what is left, used", used, 95.0, "%"),
        at_most(f"{name}: refused", refused, 5.0, "%"),
    ]


def too_high(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    used = min(run.used_percent("accepted", WARM_UP_S) for run in runs)
    refused = max(run.refused_percent(SETTLED_S) for run in runs)
    return [
        at_least(f"{name}: true quota used", used, 95.0, "%"),
        at_most(f"{name}: refused after {SETTLED_S} s", refused, 5.0, "%"),
    ]


def storm(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    sent = max(map(sent_in_storm_per_s, runs))
    used = min(run.used_percent("accepted", storm_end_s(run) + SETTLED_S) for run in runs)
    return [
        at_most(f"{name}: calls in the storm", sent, 1.1, "/s"),
        at_most(f"{name}: until 90 % are used again", max(map(recovery_s, runs)), SETTLED_S, "s"),
        at_least(f"{name}: used from {SETTLED_S} s after the storm on", used, 90.0, "%"),
    ]


def storm_end_s(run: Run) -> float:
    (spell,) = run.scenario.spells
    return spell.at_s + (spell.for_s or 0.0)


def sent_in_storm_per_s(run: Run) -> float:
    (spell,) = run.scenario.spells
    return run.last.refused_in_storm / (spell.for_s or 1.0)


def recovery_s(run: Run) -> float:
    """Seconds after the storm from which on 90 % of the quota are used over `RATE_OVER_S` seconds."""
    end_s = storm_end_s(run)
    for second in range(int(run.last.at_s - end_s - RATE_OVER_S)):
        begin_s = end_s + second
        if run.used_percent("accepted", begin_s, begin_s + RATE_OVER_S) >= 90:
            return second
    return run.last.at_s - end_s


def sends(name: str, runs: Sequence[Run]) -> list[dict[str, Any]]:
    worst = max(map(over_percent, runs))
    return [at_most(f"{name}: worst 60 s of what is sent, above the quota", worst, 1.0, "%")]


def over_percent(run: Run) -> float:
    return 100 * (run.worst_sent / run.scenario.per_minute - 1)


FIGURES: dict[str, Callable[[str, Sequence[Run]], list[dict[str, Any]]]] = {
    "goodput": goodput,
    "tenant": tenant,
    "too_high": too_high,
    "storm": storm,
    "sends": sends,
}


def details_of(runs: Sequence[Run]) -> dict[str, Any]:
    """The same of every kind of scenario, least, middle and greatest of its runs."""
    measured: dict[str, Callable[[Run], float]] = {
        "answered_percent": lambda run: run.used_percent("answered", WARM_UP_S),
        "accepted_percent": lambda run: run.used_percent("accepted", WARM_UP_S),
        "refused_percent": lambda run: run.refused_percent(WARM_UP_S),
        "sent_in_worst_60_s_above_quota_percent": over_percent,
        "unscored": lambda run: run.unscored,
    }
    found: dict[str, Any] = {}
    for what, measure in measured.items():
        values = [round(measure(run), 3) for run in runs]
        found[what] = values[0] if len(values) == 1 else spread(values)
    return {"per_minute": runs[0].scenario.per_minute, "runs": len(runs), **found}
