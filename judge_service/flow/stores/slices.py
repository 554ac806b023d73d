"""The arithmetic of a quota that is cut into slices of time: their sizes, and the part a client may take."""

import hashlib
import math
from collections.abc import Collection, Mapping
from typing import Any

from msgspec import Struct

from judge_service.flow.share import ShareController
from judge_service.flow.stores import Ask, Rules

SLICE_S = 0.5
MARKS = 256
"""A client marks a slice with one of this many numbers. The number of clients is estimated from the marks
(linear counting), so that an item stays under 1 KB (one write unit) with 400 clients."""


REMEMBERED_SLICES = 6
"""Slices used to count clients: 3 s, in which every active client has leased."""


def slice_ms(per_minute: Mapping[str, float]) -> int:
    """Length of this quota's slices: 0.5 s, or as long as one unit of its slowest resource takes."""
    slowest = min(per_minute.values())
    return max(round(SLICE_S * 1000), math.ceil(60_000 / slowest))


def capacity(per_minute: float, index: int, length_ms: int, part: float) -> int:
    """Units of slice `index`, rounded so that all slices together have exactly the quota.

    Worked example: 150 a minute are 1.25 a slice of 500 ms. Slices 0, 1, and 2 have 1 unit each, and
    slice 3 has 2; then the pattern repeats.
    """
    thousandths = round(per_minute * 1000)
    span = 60_000 * 1000
    before = thousandths * length_ms * index // span
    return max(1, int((thousandths * length_ms * (index + 1) // span - before) * part + 1e-9))


def portion(
    ask: Ask, holds: Mapping[str, int], share_s: float, length_s: float, rules: Rules
) -> dict[str, int]:
    """The units that a client may take from a slice: the wanted ones, at most a chunk, at least one call's.

    holds: units of the slice. share_s: seconds of the whole quota that a client may take at once.
    """
    taken = {}
    for name, units in ask.want.items():
        least = ask.least.get(name, 1)
        rate = holds[name] / length_s
        batch = min(rules.batch_calls * least, rate * rules.batch_s)
        most = max(least, int(max(rate * share_s, batch) + 1e-9))
        taken[name] = min(units, most, holds[name])
    return taken


def mark_of(client: str) -> int:
    """The number with which a client marks slices, in [0, MARKS)."""
    return int.from_bytes(hashlib.blake2b(client.encode(), digest_size=2).digest()) % MARKS


def count(marks: Collection[object]) -> int:
    """The estimated number of clients that left these different marks."""
    free = max(1, MARKS - len(marks))
    return max(1, round(-MARKS * math.log(free / MARKS)))


class Slice(Struct, frozen=True):
    """A slice of one quota's time, `index` lengths after 1970."""

    quota: str
    index: int
    length_s: float

    def holds(self, per_minute: float, part: float) -> int:
        return capacity(per_minute, self.index, round(self.length_s * 1000), part)


class Known:
    """The state that this process keeps of one quota.

    last_slice: the slice of the last lease. lead: how many slices after it, or after now, the next search
        starts, so that slices known to be full are not tried again.
    """

    def __init__(self) -> None:
        self.share = ShareController()
        self.clients = 1
        self.last_slice = self.lead = 0
        self._counted: dict[int, tuple[int, int]] = {}
        self._others = 0
        self._marks: dict[int, frozenset[str]] = {}

    def find(self, index: int, base: int) -> None:
        """Records that a search which started at slice `base` found a lease in slice `index`.

        If no other client is in the slice, there may be room before it. Otherwise all clients wait in one
        of the slices between, about equally many in each.
        """
        self.last_slice = index
        self.lead = index - base if self._others else max(0, index - base - 1)
        self.clients = max(self.clients, (self._others + 1) * (index - base))

    def told(self, ask: Ask) -> dict[str, int]:
        """The client's calls that count: calls sent at another pace do not count for this one."""
        if not (ask.sent and math.isclose(ask.pace, self.share.level, rel_tol=1e-9)):
            return {}
        return {"sent": ask.sent, "refused": ask.refused}

    def learn(self, item: Mapping[str, Any], index: int, now_s: float) -> None:
        """Reads a slice: its marks, and how many calls of all clients were sent and refused.

        Every client of the quota has marked one of the last slices, but each client reads only some of them.
        """
        self._marks[index] = marks = frozenset(item.get("marks", {}).get("NS", ()))
        self._others = count(marks) - 1
        for old in [known for known in self._marks if known <= index - REMEMBERED_SLICES]:
            del self._marks[old]
            self._counted.pop(old, None)
        self.clients = count(frozenset().union(*self._marks.values()))
        sent, refused = (int(item.get(name, {}).get("N", 0)) for name in ("sent", "refused"))
        before = self._counted.get(index, (0, 0))
        self._counted[index] = sent, refused
        if sent > before[0]:
            self.share.note(now_s, sent=sent - before[0], refused=refused - before[1])
