"""Guards against reward hacking: check responses before the judge sees them (docs/guards.md)."""

from collections import Counter
from collections.abc import Callable, Mapping

from msgspec import Struct

from judge_service.grading.monitoring.guards.copies import is_copy
from judge_service.grading.monitoring.guards.degenerate import says_nothing
from judge_service.grading.monitoring.guards.forgeries import forgeries
from judge_service.grading.monitoring.guards.guesses import is_guessing
from judge_service.grading.monitoring.guards.invisible import clean, hides_text
from judge_service.grading.monitoring.guards.repetition import is_repetitive
from judge_service.telemetry.events import GuardFired, Sink, ignore
from judge_service.values import Sample

__all__ = ["GUARDS", "UNGUARDED", "Guards", "GuardsStatistics"]

LOWEST: Mapping[str, Callable[[str, Sample], bool]] = {
    "degenerate": lambda text, sample: says_nothing(text, sample.reference, sample.messages),
    "copies": lambda text, sample: is_copy(text, sample.messages, sample.reference),
    "repetition": lambda text, sample: is_repetitive(text, sample.reference),
    "guesses": lambda text, sample: is_guessing(text, sample.reference, sample.messages),
}
"""Guards that give the lowest score without a judge call."""

GUARDS = (*LOWEST, "forgeries", "invisible")
"""All guards, by the name of their setting."""

NO_SAMPLE = Sample()


class GuardsStatistics(Struct, frozen=True):
    """Counts since the guards were made. looked: samples checked; found: samples by guard."""

    looked: int
    found: Mapping[str, int]


class Guards:
    """Checks responses for reward hacking. Only responses without content to judge get the lowest score.

    active: names of `GUARDS`.
    sink: gets an event for each finding.
    """

    def __init__(self, active: frozenset[str], sink: Sink = ignore) -> None:
        self.active = active
        self._sink = sink
        self._lowest = {name: check for name, check in LOWEST.items() if name in active}
        self._last: tuple[Sample, str | None] = (NO_SAMPLE, None)
        self._last_clean = ("", "")
        self._looked = 0
        self._found: Counter[str] = Counter()

    def __repr__(self) -> str:
        return f"<Guards {', '.join(name for name in GUARDS if name in self.active) or 'off'}>"

    def statistics(self) -> GuardsStatistics:
        """A copy of the counts."""
        return GuardsStatistics(self._looked, dict(self._found))

    def clean(self, text: str) -> str:
        """The text as the judge sees it."""
        if "invisible" not in self.active:
            return text
        if (
            text is self._last_clean[0]
        ):  # the service has checked it, and the grader writes the prompt
            return self._last_clean[1]
        return clean(text)

    def lowest(self, sample: Sample) -> str | None:
        """The guard that gives the response the lowest score; `None` for nearly all responses."""
        if not self._lowest or not sample.response:
            return None
        if self._last[0] is not sample:  # the service checks it, and then the grader asks again
            text = clean(sample.response)
            self._last_clean = (sample.response, text)
            self._last = (sample, self._first_of(text.strip(), sample))
        return self._last[1]

    def _first_of(self, text: str, sample: Sample) -> str | None:
        for name, fires in self._lowest.items():
            if fires(text, sample):
                return name
        return None

    def look(self, sample: Sample) -> tuple[str, ...]:
        """Checks a response, and counts and reports the findings. Called once for each sample."""
        self._looked += 1
        found = self._findings(sample)
        for name in found:
            self._found[name] += 1
            self._sink(GuardFired(guard=name))
        return found

    def _findings(self, sample: Sample) -> tuple[str, ...]:
        text = sample.response or ""
        lowest = self.lowest(sample)
        found = [] if lowest is None else [lowest]
        if "forgeries" in self.active:
            found += forgeries(text)
        if "invisible" in self.active and hides_text(text):
            found.append("invisible")
        return tuple(found)


UNGUARDED = Guards(frozenset())
"""Guards that check nothing; shared, because it holds only counts."""
