"""How fast we dare to go after the judge has refused calls. Arithmetic alone: no clock, no waiting.

Single refusals (another tenant, a quota lower than configured) are met by additive increase and
multiplicative decrease of the rate (AIMD): x0.8 at most once a second, 1 % of the rate back a second.

A storm, in which nothing gets through, is met by probes, and when one is answered by twice as many
every half second, as in TCP's slow start. With AIMD alone it would take 20 s to come down from 100
calls a second to one, and 99 s to come back. The first answer to a call that was sent after the
refusals began shows that it was no storm; then the rate is halved and AIMD goes on from there. Calls
sent earlier prove nothing: an accepted call takes longer than a refusal, so their answers keep coming.
"""

from math import inf

from msgspec import Struct

from judge_service.flow.admission.share import TARGET, ShareController
from judge_service.flow.admission.storm import Storm

LOOK_EVERY_S = 0.25


class ThrottleStatistics(Struct, frozen=True, kw_only=True):
    level: float
    most: float
    background: float
    refused_share: float
    refused: int
    sent: int
    is_probing: bool


class Throttle:
    """Joins the share controller and the storm for one target."""

    def __init__(self, *, most: float = 1.0, target: float = TARGET) -> None:
        self.calm = True
        self.is_leased = False
        self._share = ShareController(most=most, target=target)
        self._storm = Storm()
        self._sent = self._refused = 0
        self._work = 0.0
        self._mark = self._reported = 0
        self._reported_work = 0.0
        self._look_at_s = -inf
        self._looked = 0
        self._looked_at_s = -inf
        self._rate = 0.0
        self._refusal_s = 0.02
        self.level = most
        self.next_at_s = -inf
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
        self._sent += 1
        self._work += work
        if not self.calm and self._storm.calls_per_s < inf:
            self._storm.sent(now_s)
            self.next_at_s = self._storm.next_at_s
        if now_s >= self._look_at_s:
            self.tick(now_s)
        return self._sent

    def answered(self, number: int, now_s: float) -> None:
        storm = self._storm
        if storm.run_bits or storm.is_probing:
            storm.answered(number, now_s, self._sent)
            self._follow()

    def refused(self, number: int, now_s: float, sent_at_s: float, work: float) -> None:
        self._refused += 1
        self._refusal_s += 0.1 * (now_s - sent_at_s - self._refusal_s)
        storm = self._storm
        if storm.is_probing:
            return
        if storm.refused(number):
            storm.start(now_s, self._sent, self._rate)
            self._decided(now_s)
            self._share.reset(now_s)
        elif number > self._mark:
            self._note(number, now_s, 1, work)
        self._follow()

    def changes_at_s(self, now_s: float) -> float:
        if self.calm:
            return inf
        if self._sent > self._looked and not self._storm.is_probing:
            return max(now_s, min(self._look_at_s, self._storm.doubles_at_s))
        return self._storm.doubles_at_s

    def tick(self, now_s: float) -> bool:
        level, next_at_s = self.level, self.next_at_s
        if self._storm.tick(now_s) and self._storm.calls_per_s == inf:
            self._decided(now_s)
            self._share.reset(now_s)
        if now_s >= self._look_at_s and not self._storm.is_probing:
            self._note(self._looked, now_s, 0, 0.0)
            if self._storm.calls_per_s == inf and now_s > self._looked_at_s:
                self._rate = (self._sent - self._looked) / (now_s - self._looked_at_s)
            self._looked = self._sent
            self._looked_at_s = now_s
            self._look_at_s = now_s + max(LOOK_EVERY_S, 3 * self._refusal_s)
        self._follow()
        return self.level != level or self.next_at_s != next_at_s

    def _note(self, number: int, now_s: float, refused: int, refused_work: float) -> None:
        if self.is_leased:  # the store's controller decides for all processes
            return
        sent = max(0, number - self._reported)
        work = 0.0
        if sent:
            work = (self._work - self._reported_work) * sent / (self._sent - self._reported)
            self._reported, self._reported_work = number, self._reported_work + work
        if self._share.note(
            now_s, sent=sent, refused=refused, work=work, refused_work=refused_work
        ):
            self._decided(now_s)
            if self.log is not None:
                self.log.append((now_s, self._share.last))

    def _decided(self, now_s: float) -> None:
        self._mark = self._reported = self._looked = self._sent
        self._reported_work = self._work
        self._look_at_s = now_s + max(LOOK_EVERY_S, 3 * self._refusal_s)

    def _follow(self) -> None:
        self.level = self._share.level
        self.next_at_s = self._storm.next_at_s
        self.calm = self.level >= self._share.most and self._storm.calls_per_s == inf
