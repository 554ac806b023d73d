"""Computes the figures of a scenario's runs from the judge's counts at every second."""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Any

from measuring import at_least, at_most, spread
from msgspec import Struct
from scenario import SETTLED_S, WARM_UP_S, Scenario

RATE_OVER_S = 3
"""Time over which the rate after a storm is averaged, seconds."""


class Reading(Struct, frozen=True, kw_only=True):
    """The judge's counts at one time. at_s: seconds since the load began.

    sent: calls that arrived. worst_sent: the most of them in any 60 s. accepted: calls that the quota
    admitted. answered: calls with a good answer.
    """

    at_s: float
    sent: int
    worst_sent: float
    answered: int
    accepted: int
    refused_by_quota: int
    refused_at_random: int
    refused_in_storm: int

    @property
    def refused(self) -> int:
        return self.refused_by_quota + self.refused_at_random + self.refused_in_storm


class Run(Struct, frozen=True):
    """A run of a scenario with one seed, read every second. unscored: samples without a score."""

    scenario: Scenario
    seed: int
    readings: list[Reading]
    unscored: int

    def at(self, second: float) -> Reading:
        """The first reading from this second on."""
        place = bisect_left(self.readings, second, key=lambda reading: reading.at_s)
        return self.readings[min(place, len(self.readings) - 1)]

    @property
    def last(self) -> Reading:
        return self.readings[-1]

    def used_percent(self, count: str, begin_s: float, end_s: float | None = None) -> float:
        """Percent of the quota that others left, between two times. count: a field of `Reading`."""
        begin, end = self.at(begin_s), self.last if end_s is None else self.at(end_s)
        left = self.scenario.left_s(begin.at_s, end.at_s) * self.scenario.per_minute / 60
        return 100 * (getattr(end, count) - getattr(begin, count)) / left if left else 0.0

    def refused_percent(self, begin_s: float) -> float:
        """Percent of the calls sent from this second on."""
        begin = self.at(begin_s)
        sent = self.last.sent - begin.sent
        return 100 * (self.last.refused - begin.refused) / sent if sent else 100.0


class Figure(Struct, frozen=True):
    """A target for every run of a scenario. is_least: `False` for an upper target."""

    what: str
    of: Callable[[Run], float]
    asked: float
    unit: str
    is_least: bool = True


def asked_of(scenario: Scenario) -> tuple[Figure, ...]:
    """The figures of a scenario."""
    if scenario.asks == "goodput":
        return (Figure("goodput", goodput_percent, scenario.at_least, "%"),)
    if scenario.asks == "sends":
        what = "worst 60 s of what is sent, above the quota"
        return (Figure(what, over_percent, 1.0, "%", is_least=False),)
    if scenario.asks == "tenant":
        return (
            Figure("of what is left, used", accepted_percent, 95.0, "%"),
            Figure("refused", refused_percent, 5.0, "%", is_least=False),
        )
    if scenario.asks == "too_high":
        return (
            Figure("true quota used", accepted_percent, 95.0, "%"),
            Figure(f"refused after {SETTLED_S} s", refused_when_settled, 5.0, "%", is_least=False),
        )
    return (
        Figure("calls in the storm", sent_in_storm_per_s, 1.1, "/s", is_least=False),
        Figure("until 90 % are used again", recovery_s, SETTLED_S, "s", is_least=False),
        Figure(f"used from {SETTLED_S} s after the storm on", used_after_storm, 90.0, "%"),
    )


def figures_of(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The figures of a scenario, each of its worst run. Prints how to replay a run that misses a target."""
    name, found = runs[0].scenario.name, []
    for figure in asked_of(runs[0].scenario):
        worst = (min if figure.is_least else max)(runs, key=figure.of)
        made = (at_least if figure.is_least else at_most)(
            f"{name.replace('_', ' ')}: {figure.what}", figure.of(worst), figure.asked, figure.unit
        )
        if not made["met"]:
            print(f"  replay: --virtual --only '^{name}$' --seed {worst.seed}", flush=True)
        found.append(made)
    return found


def goodput_percent(run: Run) -> float:
    """Good answers from the sixth second on, as a percentage of the quota without random refusals."""
    return run.used_percent("answered", WARM_UP_S) / (1 - run.scenario.refused_share)


def accepted_percent(run: Run) -> float:
    return run.used_percent("accepted", WARM_UP_S)


def refused_percent(run: Run) -> float:
    return run.refused_percent(WARM_UP_S)


def refused_by_quota_percent(run: Run) -> float:
    """Percent of the calls from the sixth second on that the quota refused, which a client can avoid."""
    begin = run.at(WARM_UP_S)
    refused = run.last.refused_by_quota - begin.refused_by_quota
    return 100 * refused / max(run.last.sent - begin.sent, 1)


def refused_when_settled(run: Run) -> float:
    return run.refused_percent(SETTLED_S)


def over_percent(run: Run) -> float:
    return 100 * (run.last.worst_sent / run.scenario.per_minute - 1)


def storm_end_s(run: Run) -> float:
    (spell,) = run.scenario.spells
    return spell.at_s + (spell.for_s or 0.0)


def sent_in_storm_per_s(run: Run) -> float:
    (spell,) = run.scenario.spells
    return run.last.refused_in_storm / (spell.for_s or 1.0)


def recovery_s(run: Run) -> float:
    """Seconds after the storm until 90 % of the quota is used over `RATE_OVER_S` seconds."""
    end_s = storm_end_s(run)
    for second in range(int(run.last.at_s - end_s - RATE_OVER_S)):
        begin_s = end_s + second
        if run.used_percent("accepted", begin_s, begin_s + RATE_OVER_S) >= 90:
            return second
    return run.last.at_s - end_s


def used_after_storm(run: Run) -> float:
    return run.used_percent("accepted", storm_end_s(run) + SETTLED_S)


def details_of(runs: Sequence[Run]) -> dict[str, Any]:
    """Details that all scenarios have: minimum, median and maximum of the runs."""
    measured: dict[str, Callable[[Run], float]] = {
        "per_minute": lambda run: run.scenario.per_minute,
        "answered_percent": lambda run: run.used_percent("answered", WARM_UP_S),
        "accepted_percent": accepted_percent,
        "refused_percent": refused_percent,
        "refused_by_quota_percent": refused_by_quota_percent,
        "sent_in_worst_60_s_above_quota_percent": over_percent,
        "unscored": lambda run: run.unscored,
    }
    found: dict[str, Any] = {}
    for what, measure in measured.items():
        values = [round(measure(run), 3) for run in runs]
        found[what] = values[0] if len(values) == 1 else spread(values)
    return {"runs": len(runs), **found}
