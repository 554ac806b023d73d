"""The throttle controller of one target: the share controller and the storm, joined for its gate.

`share.py` decides which share of the rate may be used, `storm.py` what to do when everything is refused.
This module adds the accounting. Calls get numbers in the order of sending, and are collected in slices of a
tenth of a second. A slice is passed to the share controller when its refusals are known (after 1.5 times the
latency of a refusal), so that a refusal counts for the time in which its call was sent. Below the full level
calls are spread evenly in time, so that they do not arrive in bursts at a judge whose own bucket is empty.
"""

from collections import deque
from math import inf

from msgspec import Struct

from judge_service.flow.admission.storm import Storm
from judge_service.flow.share import TARGET, ShareController

SLICE_S = 0.1
"""Length of a slice: shorter than a decision takes, long enough to cost nothing."""

BURST_S = 0.1
"""How far calls may be ahead of an even rate, seconds."""

CALM_AFTER_S = 1.0
"""How long calls stay spread evenly after a storm, seconds."""

SNAPSHOT_S, SNAPSHOTS = 5.0, 12
"""The reported share of refused calls is of the last minute, in steps of 5 s."""


class ThrottleStatistics(Struct, frozen=True, kw_only=True):
    """level: the usable part of `most`, which is 1 for a share of the rate, or a number of slots.

    background: share of the calls that is refused independent of our rate.
    refused_share: share of refused calls of about the last minute, 0 to 1.
    sent, refused: calls since the start. is_probing: whether only probes are sent, because of a storm.
    """

    level: float
    most: float
    background: float
    refused_share: float
    refused: int
    sent: int
    is_probing: bool


class Slice(Struct):
    """Calls that were sent within a tenth of a second.

    first: number of the first call. before: the work of all calls before it.
    refused: number of refused calls. refused_work: their work.
    """

    began_at_s: float
    first: int
    before: float = 0.0
    refused: int = 0
    refused_work: float = 0.0


class Throttle:
    """Limits the rate of one target by its refusals. Times are of one clock; nothing here waits.

    most: 1.0 for a share of the quota's rate, or a number of slots if no quota is set.
    target: intended share of refused calls, 0 to 1.
    calm: whether there is no limit; a gate reads only this for most calls.
    level: the usable part, in (0, most].
    next_at_s: the time of the next call, `-inf` for at once.
    is_leased: whether the store's controller decides for all processes, and only storms are detected here.
    """

    def __init__(self, *, most: float = 1.0, target: float = TARGET) -> None:
        self.calm = True
        self.is_leased = False
        self.level = most
        self.next_at_s = -inf
        self._share = ShareController(most=most, target=target)
        self._known_sent = self._known_refused = 0
        self._storm = Storm()
        self._sent = self._refused = 0
        self._work = 0.0
        self._slices = deque([Slice(-inf, 1)])
        self._look_at_s = -inf
        self._due_s = self._calm_at_s = -inf
        self._calls_per_s = 0.0
        self._refusal_s = 0.02
        self._snapshots: deque[tuple[int, int]] = deque([(0, 0)], maxlen=SNAPSHOTS)
        self._snapshot_at_s = -inf
        self.log: list[tuple[float, str]] | None = None

    def __repr__(self) -> str:
        return f"Throttle(holds refused calls at {100 * self._share.target:g} %)"

    def statistics(self) -> ThrottleStatistics:
        """The present decisions, and the counts."""
        sent, refused = self._snapshots[0]
        return ThrottleStatistics(
            level=self.level,
            most=self._share.most,
            background=self._share.background,
            refused_share=(self._refused - refused) / max(self._sent - sent, 1),
            refused=self._refused,
            sent=self._sent,
            is_probing=self._storm.is_probing,
        )

    def follow_store(self, *, is_leased: bool) -> None:
        """Sets whether calls are leased from a store, whose controller decides for all processes.

        Then the level is full here, and only storms are detected.
        """
        if is_leased and not self.is_leased:
            self._share = ShareController(most=self._share.most, target=self._share.target)
            self.level = self._share.level
        self.is_leased = is_leased

    def take_known(self, now_s: float) -> tuple[int, int]:
        """Calls whose refusals are known, sent and refused, since this was last called; none in a storm."""
        if self._storm.calls_per_s == inf:
            self._look(now_s)
        known = self._known_sent, self._known_refused
        self._known_sent = self._known_refused = 0
        return known

    def sent(self, now_s: float, work: float) -> int:
        """Notes a sent call. Returns its number. work: its cost, seconds of quota; 1 without a quota."""
        if now_s >= self._look_at_s:
            self.tick(now_s)
        self._sent += 1
        self._work += work
        if not self.calm:
            self._pace(now_s, work)
        return self._sent

    def answered(self, number: int, now_s: float) -> None:
        """Notes an answered call."""
        storm = self._storm
        if storm.run_bits or storm.is_probing:
            storm.answered(number, now_s, self._sent)
            self._follow(now_s)

    def refused(self, number: int, now_s: float, sent_at_s: float, work: float) -> None:
        """Notes a call that the judge refused because of its quota."""
        self._refused += 1
        self._refusal_s += 0.1 * (now_s - sent_at_s - self._refusal_s)
        storm = self._storm
        if not storm.is_probing and storm.refused(number):
            storm.start(now_s, self._sent, self._calls_per_s)
            if self.log is not None:
                self.log.append((now_s, "storm"))
            self._follow(now_s)
        if number >= self._slices[0].first:
            piece = next(piece for piece in reversed(self._slices) if piece.first <= number)
            piece.refused += 1
            piece.refused_work += work

    def changes_at_s(self, now_s: float) -> float:
        """When `tick` is due if no call is sent or ends, `inf` for never."""
        if self.calm:
            return inf
        if self._storm.calls_per_s < inf:
            return max(now_s, self._storm.doubles_at_s)
        if self._sent < self._slices[0].first:
            return inf
        return max(now_s, self._look_at_s)

    def tick(self, now_s: float) -> bool:
        """Advances to `now_s`. Returns whether the level or the next call's time changed."""
        if now_s >= self._snapshot_at_s:
            self._snapshot_at_s = now_s + SNAPSHOT_S
            self._snapshots.append((self._sent, self._refused))
        level, next_at_s = self.level, self.next_at_s
        if self._storm.calls_per_s < inf:
            if self._storm.tick(now_s) and self._storm.calls_per_s == inf:
                self._share.reset(now_s)
                self._count_anew(now_s)
        elif now_s >= self._look_at_s:
            self._look(now_s)
        self._follow(now_s)
        return self.level != level or self.next_at_s != next_at_s

    def _look(self, now_s: float) -> None:
        slices = self._slices
        known_s = now_s - 1.5 * self._refusal_s
        slices.append(Slice(now_s, self._sent + 1, self._work))
        self._look_at_s = now_s + SLICE_S
        while len(slices) > 1 and slices[1].began_at_s <= known_s:
            piece, end = slices.popleft(), slices[0]
            sent = end.first - piece.first
            self._known_sent += sent
            self._known_refused += piece.refused
            lasted_s = end.began_at_s - piece.began_at_s
            if 0.5 * SLICE_S <= lasted_s < 10 * SLICE_S:
                calls_per_s = sent / lasted_s
                self._calls_per_s += 0.1 * (calls_per_s - self._calls_per_s)
            if not self.is_leased and self._tell(now_s, piece, end):
                self._count_anew(now_s)
                if self.log is not None:
                    self.log.append((now_s, self._share.last))

    def _tell(self, now_s: float, piece: Slice, end: Slice) -> bool:
        """Passes a slice on in average calls, because a judge that is short of tokens refuses large calls."""
        average = self._work / self._sent if self._work else 1.0
        return self._share.note(
            now_s,
            sent=(end.before - piece.before) / average,
            refused=piece.refused_work / average,
        )

    def _count_anew(self, now_s: float) -> None:
        self._slices.clear()
        self._slices.append(Slice(now_s, self._sent + 1, self._work))
        self._look_at_s = now_s + SLICE_S

    def _pace(self, now_s: float, work: float) -> None:
        if self._storm.calls_per_s < inf:
            self._storm.sent(now_s)
        else:
            self._due_s = max(self._due_s, now_s) + work / self.level
        self._follow(now_s)

    def _follow(self, now_s: float) -> None:
        self.level = self._share.level
        is_open = self._storm.calls_per_s == inf
        if not is_open:
            self._calm_at_s = now_s + CALM_AFTER_S
        self.calm = self.level >= self._share.most and now_s >= self._calm_at_s
        if self.calm:
            self.next_at_s = -inf
        else:
            self.next_at_s = self._due_s - BURST_S if is_open else self._storm.next_at_s
