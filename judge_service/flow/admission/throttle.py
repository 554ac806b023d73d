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

CUT = 0.8
CUT_EVERY_S = 1.0
GROWTH_PER_S = 0.01
MIN_FACTOR = 0.01

STORM_REFUSALS = 10
"""So many refusals with no answer between are taken for a storm."""

PROBES_PER_S = 0.8
"""In a storm of a minute at most 1.1 calls a second may go, those included that went before it was
recognised. With this that holds for up to 18 of them; with 1.0 for 7."""

DOUBLING_S = 0.5
OPEN_CALLS_PER_S = 1000.0
"""Above this pace probing is over; it takes 11 doublings, so at least 5.5 s."""

AFTER_PROBES = 0.5
"""A refusal while probes double: the last step was too much, the one before was not."""

GROWTH_STEP_S = 0.1


class Pace:
    """What refusals have taught.

    calm: nothing is held back; the one thing a caller looks at on its hot path.
    factor: share of the configured rate that may be used, (0, 1].
    calls_per_s: how many calls a second probing allows, `inf` when not probing.
    next_at_s: when probing allows the next call.
    throttled: refusals so far.
    """

    __slots__ = (
        "_cut_at_s",
        "_doubled_at_s",
        "_factor_before",
        "_grown_at_s",
        "_probing_since_s",
        "_refused_in_a_row",
        "_refused_since_s",
        "calls_per_s",
        "calm",
        "factor",
        "next_at_s",
        "throttled",
    )

    def __init__(self) -> None:
        self.calm = True
        self.factor = self._factor_before = 1.0
        self.calls_per_s = inf
        self.throttled = self._refused_in_a_row = 0
        self._cut_at_s = self._grown_at_s = self.next_at_s = -inf
        self._probing_since_s = self._doubled_at_s = self._refused_since_s = -inf

    def __repr__(self) -> str:
        return f"Pace(factor={self.factor:.2f}, calls_per_s={self.calls_per_s:g})"

    def refuse(self, now_s: float, sent_at_s: float) -> None:
        """The judge refused a call."""
        self.grow(now_s)
        if self.calm:
            self.calm, self._refused_in_a_row = False, 0
        if not self._refused_in_a_row:
            self._refused_since_s, self._factor_before = sent_at_s, self.factor
        self.throttled += 1
        self._refused_in_a_row += 1
        if self._refused_in_a_row == STORM_REFUSALS:
            self._start_probing(now_s)
        elif self.calls_per_s == inf and now_s - self._cut_at_s >= CUT_EVERY_S:
            self._cut(now_s, CUT)
        elif PROBES_PER_S < self.calls_per_s < inf:
            self._stop_probing(now_s)

    def answer(self, now_s: float, sent_at_s: float) -> None:
        """The judge answered a call. What was sent before the first refusal proves nothing."""
        if sent_at_s < self._refused_since_s:
            return
        self._refused_in_a_row = 0
        if self.calls_per_s == inf:
            return
        if sent_at_s < self._probing_since_s:  # it was no storm, only too much
            self._stop_probing(now_s)
        elif now_s - self._doubled_at_s >= DOUBLING_S:
            self._doubled_at_s = now_s
            self.calls_per_s *= 2
            self.next_at_s = min(self.next_at_s, now_s + 1 / self.calls_per_s)
            if self.calls_per_s > OPEN_CALLS_PER_S:
                self.calls_per_s = inf

    def grow(self, now_s: float) -> bool:
        """Gives back what the time since the last cut has earned; whether the factor changed."""
        grown_s = now_s - self._grown_at_s
        if grown_s < GROWTH_STEP_S:
            return False
        self._grown_at_s = now_s
        self.factor = min(1.0, self.factor + GROWTH_PER_S * grown_s)
        self.calm = self.factor == 1.0 and self.calls_per_s == inf
        return True

    def let_in(self, now_s: float) -> None:
        """A call goes: the next probe has to wait."""
        self.next_at_s = now_s + 1 / self.calls_per_s

    def _cut(self, now_s: float, by: float) -> None:
        self.factor = max(MIN_FACTOR, self.factor * by)
        self._cut_at_s = self._grown_at_s = now_s

    def _start_probing(self, now_s: float) -> None:
        self.calls_per_s = PROBES_PER_S
        self.factor = self._factor_before
        self._probing_since_s = now_s
        self.next_at_s = now_s + 1 / PROBES_PER_S

    def _stop_probing(self, now_s: float) -> None:
        self.calls_per_s, self.next_at_s = inf, now_s
        self._cut(now_s, AFTER_PROBES)


LOOK_EVERY_S = 0.25


class ThrottleStatistics(Struct, frozen=True, kw_only=True):
    level: float
    background: float
    refused_share: float
    refused: int
    sent: int
    is_probing: bool


class Throttle:
    """Joins the share controller and the storm for one target."""

    def __init__(self, *, most: float = 1.0, target: float = TARGET) -> None:
        self.calm = True
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

    def statistics(self) -> ThrottleStatistics:
        return ThrottleStatistics(
            level=self.level,
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
