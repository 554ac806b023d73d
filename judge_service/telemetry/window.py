"""Counts of the last five minutes in slots of two seconds, and of all time as one sum."""

import time
from bisect import insort
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Raw, Struct, field

from judge_service.telemetry.counters import COUNTED, Counters, Names, total
from judge_service.telemetry.events import CallEnded, Event, SampleGraded
from judge_service.telemetry.state import ServiceState
from judge_service.telemetry.text import label

SLOT_S = 2
SLOTS = 150
"""Slots kept: five minutes."""

EXTREMES = 3
"""How many slowest and lowest samples each slot keeps."""

ENCODER = msgspec.json.Encoder()

Spent = dict[str, dict[str, float]]


class Extreme(Struct, frozen=True, order=True, array_like=True):
    """A sample with an extreme value. value: seconds, or a score."""

    value: float
    id: str


class Slot(Struct):
    """The counts of two seconds. number: of the slot since the epoch, the same in all workers.

    slowest: values are negative seconds, so that both lists keep the smallest values.
    spent: units of each target's quota that were spent before the slot began.
    """

    number: int
    counters: Counters = field(default_factory=Counters)
    slowest: list[Extreme] = field(default_factory=list)
    lowest: list[Extreme] = field(default_factory=list)
    spent: Spent = field(default_factory=dict)


class Snapshot(Struct, frozen=True, kw_only=True):
    """The counts of one worker at one moment.

    since_s, at_s: when the worker started and when this was taken, seconds since the epoch. counters: of all
    time.
    """

    pid: int
    since_s: float
    at_s: float
    counters: Counters
    slots: list[Slot]
    state: ServiceState


class Window:
    """A sink that counts events. Slots, names and extremes are bounded.

    now: clock, seconds since the epoch, so that the slots of several workers are the same.

    `watch` gives it a function for the state of the service, which is called at the start of each slot.
    """

    def __init__(self, *, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._since_s = now_s = now()
        self._state: Callable[[], ServiceState] = ServiceState
        self._before = Counters()
        self._past: deque[tuple[int, Raw]] = deque()
        self._slot = Slot(int(now_s) // SLOT_S)
        self._targets, self._criteria = Names(), Names()

    def __repr__(self) -> str:
        return f"<Window of {len(self._past) + 1} slots of {SLOT_S} s>"

    def __call__(self, event: Event) -> None:
        kind = type(event)
        if kind is SampleGraded:
            self._turn()
            self._graded(event)  # type: ignore[arg-type] # mypy does not narrow by `kind`
        elif kind is CallEnded:
            self._turn()
            self._slot.counters.ended(event, self._targets)  # type: ignore[arg-type] # as above
        elif kind in COUNTED:
            self._turn()
            self._slot.counters.count(event)

    def watch(self, state: Callable[[], ServiceState]) -> None:
        """Sets the function that gives the service's state; it runs on the event loop and must be cheap."""
        self._state = state
        self._slot.spent = _spent(state())

    def inherit(self, counters: Counters) -> None:
        """Continues the counts of a worker that has died."""
        self._before = total(self._before, counters)

    def snapshot(self, pid: int) -> bytes:
        """A `Snapshot` as JSON. Cheap, because finished slots were encoded when they ended."""
        self._turn()
        return ENCODER.encode(
            {
                "pid": pid,
                "since_s": self._since_s,
                "at_s": self._now(),
                "counters": total(self._before, self._slot.counters),
                "slots": [*(slot for _, slot in self._past), self._slot],
                "state": self._state(),
            }
        )

    def _graded(self, event: SampleGraded) -> None:
        slot = self._slot
        slot.counters.graded(event, self._criteria)
        _keep(slot.slowest, -event.duration_s, event.id)
        if event.reward.score is not None:
            _keep(slot.lowest, event.reward.score, event.id)

    def _turn(self) -> None:
        """Begins a new slot if it is time, and drops slots that are too old."""
        number = int(self._now()) // SLOT_S
        if number != self._slot.number:
            self._begin(number)

    def _begin(self, number: int) -> None:
        ended, self._slot = self._slot, Slot(number, spent=_spent(self._state()))
        self._before = total(self._before, ended.counters)
        self._past.append((ended.number, Raw(ENCODER.encode(ended))))
        while self._past and not 0 < number - self._past[0][0] < SLOTS:
            self._past.popleft()


def _keep(kept: list[Extreme], value: float, ident: Any) -> None:
    """Keeps the few with the smallest values."""
    if len(kept) == EXTREMES:
        if value >= kept[-1].value:
            return
        kept.pop()
    insort(kept, Extreme(value, str(label(ident))))


def _spent(state: ServiceState) -> Spent:
    return {
        target.target: {quota.resource: quota.spent for quota in target.quota}
        for target in state.targets
    }
