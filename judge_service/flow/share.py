"""The share controller: holds the share of refused calls small instead of fleeing from each refusal.

A judge refuses for two reasons. Refusals at random (shared capacity, bursts of others) do not depend on our
rate: slowing down for them only loses work. Refusals because our rate is above what is left of the quota
(another tenant, a quota set too high) rise with our rate, and slowing down ends them. The controller tells
them apart by what its own slowing does. Arithmetic alone: no clock, no waiting.

State: `level`, the share of the configured rate that is used (or a number of slots); `background`, the
share that is refused whatever we do; and the calls sent and refused since the last decision.

1. Nothing happens while the share stays within `allowed = background + target`. A refused call costs
   nothing at Bedrock; 3 % of them are the price of knowing where the limit is.
2. **Excess**: of n calls, k > allowed * n + 3 * sqrt(allowed * n) + 1 were refused (three standard
   deviations of a Poisson count), n >= 20, over >= 1 s (sooner if more than half were refused). The level
   is cut to what was accepted: level * (1 - k / n) / (1 - allowed).
3. **Trial**: unless more than half was refused, the level goes further down, by half of the share, for as
   long as a sequential test (Wald 1945) needs to tell "the share has fallen to what is allowed" from "it is
   the same". Fallen: the refusals were ours, and the cut stays. The same: they are random; their share
   becomes the background, and the level is restored. After 45 s the background is forgotten and tried
   again. A share that rises although we slow down is the load of others: cut again.
4. **Growth**: once the calls sent show 1.25 fewer refusals than allowed, the level grows by 1.05, then by
   1.2, 1.4, and 1.8 every 0.3 s, until there is excess. Growth that fails is tried again after 1, 2,
   4, 8 s.

Worked example: quota 6,000 a minute, and another tenant takes 70 % of it at t = 0. In the next 0.3 s 30
calls are sent and 20 refused: a share of 0.67, more than half, so there is no trial. The level becomes 1 *
(1 - 0.67) / (1 - 0.03) = 0.34, and after another excess of 12 % 0.31: 31 calls a second are sent and 30
accepted, which is a share of 3.2 %. The tenant leaves at t = 30. After 42 calls without a refusal (1.4 s;
0.03 * 42 = 1.26) the level grows to 0.33, 0.39, 0.55, 0.98 and 1.

Why not AIMD (additive increase, multiplicative decrease)? It cuts at each refusal, so its rate settles near
sqrt(refusals it bears a second / share refused), whatever the quota is: measured, with 1 % refused at
random, it used 31 % of 6,000 calls a minute and 14 % of 60,000. Sources: client-side throttling in Google's
"Site Reliability Engineering", chapter 21; BBR (Cardwell et al. 2016) for steering by what was delivered;
Wald's "Sequential Tests of Statistical Hypotheses".
"""

from math import inf, log, sqrt

from msgspec import Struct

TARGET = 0.03
"""Share of refused calls that is held, from the range of 2 to 5 % that a quota's limit costs to be known."""

MIN_CALLS = 20
"""Fewest calls of which a share is told."""

MIN_SPAN_S = 1.0
"""Shortest time of which a share is told: quotas that are shaped by the second refuse in clumps."""

HEAVY = 0.5
"""Above this share nobody needs a trial: no judge refuses half of all calls at random."""

MIN_MIXED = 2
"""Counts with refused and accepted calls in them that a share above `HEAVY` needs: a clump is no share."""

SHORTEST_S = 0.001
"""Counts of many processes may come in one moment."""

SETTLE_S = 1.0
"""After a cut, calls of so many seconds do not count: a judge's bucket is still empty from before."""

Z = 3.0
"""Standard deviations of the count of refusals beyond which there is excess."""

DEPTH = 0.5
"""A trial goes below the cut by so much of the refused share: enough to see a difference, little to lose."""

FORGET_S = 45.0
"""A background is tried again after so many seconds, because random refusals end too."""

OURS, RANDOM = -3.5, 5.0
"""Bounds of the trial's log odds: wrong once in 33 trials one way, once in 150 the other way."""

PATIENCE = 1.25
"""Refusals fewer than allowed before the level grows. Less makes growth fail more often than it helps."""

HOLD_S, MAX_HOLD_S = 1.0, 8.0
"""Seconds after a cut before growth; doubled with each growth that fails, so that failures cost little."""

STEPS = (1.05, 1.2, 1.4, 1.8)
"""Factors of growth, the last one again and again. The first are small, because they often fail."""

STEP_S = 0.3
"""Seconds between two steps of growth: some latencies of a refusal, which is told at once."""

MIN_LEVEL = 0.002
"""Lowest level, of `most`: from there it grows to the whole in four seconds."""

LARGEST_CUT = 0.2
"""No cut goes below this share of the level: counts of a moment may say anything."""

FAILED_S = 5.0
"""Excess within so many seconds of growth says that the growth failed; no trial is needed to know why."""


class ShareController(Struct, kw_only=True):
    """The level at which a small share of the calls is refused. Fed with counts; times are of one clock.

    most: the level when nothing is refused: 1 for a share of a rate, or a number of slots.
    target: share of refused calls that is held, 0 to 1, besides the background.
    lag_s: how late counts are told, seconds; counts of so long after a decision are not used.
    level: what may be used now, in (0, most]. background: share refused whatever we do.
    last: the last decision in words, for traces.

    The other fields are the calls counted since the last decision, and what is remembered of a trial.
    """

    most: float = 1.0
    target: float = TARGET
    lag_s: float = 0.0
    level: float = 1.0
    background: float = 0.0

    counts_from_s: float = -inf
    since_s: float = inf
    sent: float = 0.0
    refused: float = 0.0
    mixed: int = 0

    before: float = 0.0
    after: float = 0.0
    n1: float = 0.0
    trial_n: float = 0.0
    pace: float = 0.0
    share: float = 0.0
    forget_at_s: float = inf

    surplus: float = 0.0
    hold_s: float = HOLD_S
    streak: int = 0
    grown_at_s: float = -inf
    last: str = ""

    def __post_init__(self) -> None:
        self.level = self.most

    def note(
        self,
        now_s: float,
        *,
        sent: float = 0.0,
        refused: float = 0.0,
    ) -> bool:
        """Counts calls that were sent and those of them that were refused.

        Returns whether a decision was made; calls sent before it must not be told any more.
        """
        if now_s < self.counts_from_s:
            return False
        if now_s >= self.forget_at_s:
            self.background, self.forget_at_s = 0.0, inf
        allowed = self.background + self.target
        if self.since_s == inf:
            if refused:
                self._open(now_s)
        else:
            self.sent += sent
            self.refused += refused
            self.mixed += 0 < refused < sent
        surplus = self.surplus + allowed * sent - refused
        if surplus < 0:
            self.streak = 0
        self.surplus = max(surplus, min(self.surplus, 0.0))
        if self.share:
            return self._judge(now_s, allowed)
        if refused:
            return self._look(now_s, allowed)
        return self.level < self.most and self._may_grow(now_s, allowed)

    def reset(self, now_s: float) -> None:
        """Forgets the counts and ends a trial, as after a storm."""
        if self.share:
            self.level, self.share = self.after, 0.0
        self._restart(now_s)

    def _restart(self, now_s: float) -> None:
        self.counts_from_s = now_s + self.lag_s
        self.since_s = inf
        self.sent = self.refused = self.surplus = 0.0
        self.mixed = 0

    def _open(self, now_s: float) -> None:
        self.since_s = now_s
        self.sent = self.refused = 0.0
        self.mixed = 0

    def _look(self, now_s: float, allowed: float) -> bool:
        expected = allowed * self.sent
        if self.refused <= expected:
            self._open(now_s)
            return False
        heavy = self.mixed >= MIN_MIXED and self.refused > HEAVY * self.sent
        if self.sent < MIN_CALLS or (now_s - self.since_s < MIN_SPAN_S and not heavy):
            return False
        if self.refused - expected <= Z * sqrt(expected) + 1:
            return False
        self._cut(now_s, allowed)
        return True

    def _cut(self, now_s: float, allowed: float) -> None:
        share = self.refused / self.sent
        pace = self.sent / max(now_s - self.since_s, SHORTEST_S)
        accepted = self.level * (1 - share)
        before = self.level
        level = min(
            before, max(MIN_LEVEL * self.most, LARGEST_CUT * before, accepted / (1 - allowed))
        )
        failed = now_s - self.grown_at_s < FAILED_S
        self.hold_s = min(2 * self.hold_s, MAX_HOLD_S) if failed else HOLD_S
        self.streak = 0
        self.level = level
        self.n1 = self.sent
        self._restart(now_s + SETTLE_S)
        if share <= HEAVY and not failed:
            self.before, self.after, self.share, self.trial_n = before, level, share, self.n1
            self.pace = pace
            self.level = level * (1 - DEPTH * share)
            self.since_s = self.counts_from_s
        else:
            self.share = 0.0
        self.last = f"cut {share:.3f} {level:.3f} {allowed:.3f}"

    def _judge(self, now_s: float, allowed: float) -> bool:
        if self.sent < MIN_CALLS or (
            now_s - self.since_s < MIN_SPAN_S and self.refused < HEAVY * self.sent
        ):
            return False
        fallen = allowed
        same = min(max(0.8 * self.share, 1.5 * allowed), 0.9)
        odds = self.refused * log(same / fallen) + (self.sent - self.refused) * log(
            (1 - same) / (1 - fallen)
        )
        saved = 0.0
        if odds > RANDOM:
            share = self.refused / self.sent
            if share > 1.3 * self.share + 3 * sqrt(self.share / self.sent):
                self._cut(now_s, allowed)
                self.last += " rises"
                return True
            pace = self.sent / max(now_s - self.since_s, SHORTEST_S)
            if share > HEAVY / 2 and pace > self.pace * (1 + self.level / self.before) / 2:
                before = self.before
                self._cut(now_s, allowed)
                self.before = before
                self.last += " not slowed"
                return True
            pooled = (self.share * self.trial_n + self.refused) / (self.trial_n + self.sent)
            self.background = min(pooled, HEAVY)
            self.forget_at_s = now_s + FORGET_S
            self.level = self.before
            self.last = f"random {pooled:.3f}"
        elif odds < OURS:
            self.level = self.after
            saved = self.sent * DEPTH * self.share * (1 + SETTLE_S / (now_s - self.since_s))
            self.last = f"ours {self.refused / self.sent:.3f} saved {saved:.0f}"
        else:
            return False
        self.share = 0.0
        self._restart(now_s)
        self.surplus = -min(saved, PATIENCE)
        return True

    def _may_grow(self, now_s: float, allowed: float) -> bool:
        if self.refused > allowed * self.sent:
            return False
        if self.streak:
            if now_s - self.grown_at_s < STEP_S or self.surplus < 3 * allowed:
                return False
        elif self.surplus < PATIENCE or now_s - self.counts_from_s < self.hold_s:
            return False
        self.level = min(self.most, self.level * STEPS[min(self.streak, len(STEPS) - 1)])
        self.streak += 1
        self.grown_at_s = now_s
        self.counts_from_s = now_s + self.lag_s
        self.surplus = 0.0
        self.last = f"grow {self.level:.3f}"
        return True
