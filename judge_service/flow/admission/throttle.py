"""How fast calls go after the judge has refused some: the share controller and the storm, joined."""

from collections import deque
from math import inf

from msgspec import Struct

from judge_service.flow.admission.share import TARGET, ShareController
from judge_service.flow.admission.storm import Storm

SLICE_S = 0.1
BURST_S = 0.1
CALM_AFTER_S = 1.0


class ThrottleStatistics(Struct, frozen=True, kw_only=True):
    level: float
    most: float
    background: float
    refused_share: float
    refused: int
    sent: int
    is_probing: bool


class Slice(Struct):
    """Calls that were sent within a tenth of a second."""

    began_at_s: float
    first: int
    refused: int = 0


class Throttle:
    """Joins the share controller and the storm for one target."""

    def __init__(self, *, most: float = 1.0, target: float = TARGET) -> None:
        self.calm = True
        self.is_leased = False
        self.level = most
        self.next_at_s = -inf
        self._share = ShareController(most=most, target=target)
        self._storm = Storm()
        self._sent = self._refused = 0
        self._slices = deque([Slice(-inf, 1)])
        self._look_at_s = -inf
        self._due_s = self._calm_at_s = -inf
        self._calls_per_s = 0.0
        self._refusal_s = 0.02
        self.log: list[tuple[float, str]] | None = None

    def __repr__(self) -> str:
        return f"Throttle(holds refused calls at {100 * self._share.target:g} %)"

    def statistics(self) -> ThrottleStatistics:
        return ThrottleStatistics(
            level=self.level,
            most=self._share.most,
            background=self._share.background,
            refused_share=self._refused / max(self._sent, 1),
            refused=self._refused,
            sent=self._sent,
            is_probing=self._storm.is_probing,
        )

    def sent(self, now_s: float, work: float) -> int:
        if now_s >= self._look_at_s:
            self.tick(now_s)
        self._sent += 1
        if not self.calm:
            self._pace(now_s, work)
        return self._sent

    def answered(self, number: int, now_s: float) -> None:
        storm = self._storm
        if storm.run_bits or storm.is_probing:
            storm.answered(number, now_s, self._sent)
            self._follow(now_s)

    def refused(self, number: int, now_s: float, sent_at_s: float) -> None:
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

    def changes_at_s(self, now_s: float) -> float:
        if self.calm:
            return inf
        if self._storm.calls_per_s < inf:
            return max(now_s, self._storm.doubles_at_s)
        if self._sent < self._slices[0].first:
            return inf
        return max(now_s, self._look_at_s)

    def tick(self, now_s: float) -> bool:
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
        slices.append(Slice(now_s, self._sent + 1))
        self._look_at_s = now_s + SLICE_S
        while len(slices) > 1 and slices[1].began_at_s <= known_s:
            piece, end = slices.popleft(), slices[0]
            sent = end.first - piece.first
            if end.began_at_s - piece.began_at_s < 10 * SLICE_S:
                calls_per_s = sent / (end.began_at_s - piece.began_at_s)
                self._calls_per_s += 0.1 * (calls_per_s - self._calls_per_s)
            if not self.is_leased and self._share.note(now_s, sent=sent, refused=piece.refused):
                self._count_anew(now_s)
                if self.log is not None:
                    self.log.append((now_s, self._share.last))

    def _count_anew(self, now_s: float) -> None:
        self._slices.clear()
        self._slices.append(Slice(now_s, self._sent + 1))
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
