"""The share controller: keeps the share of refused calls small, instead of reacting to each refusal.

A judge refuses calls for two reasons. Random refusals (shared capacity, bursts of others) do not depend
on our rate, so slowing down only loses work. Other refusals happen because our rate is above the rest of
the quota (another tenant, a quota set too high); they rise with our rate, and slowing down ends them. The
controller distinguishes them by the effect of slowing down. It is arithmetic without a clock and without
waiting.

State: `level`, the used share of the configured rate (or a number of slots); `background`, the
share that is refused independent of our rate; and the calls sent and refused since the last decision.

1. Nothing happens while the share is at most `allowed = background + target`. A refused call costs
   nothing at Bedrock, and without refusals the limit is not known.
2. **Excess**: of n calls, k > allowed * n + 3 * sqrt(allowed * n) + 1 were refused (three standard
   deviations of a Poisson count), n >= 20, over >= 1 s (sooner if more than half were refused). The level
   is cut to the accepted rate: level * (1 - k / n) / (1 - allowed).
3. **Trial**: if at most half was refused, the level is lowered further, by half of the share, until a
   sequential test (Wald 1945) has decided between "the share has fallen to the allowed one" and "it is
   the same". If it has fallen, our rate was the cause, and the cut remains. If it is the same, the refusals
   are random; their share becomes the background, and the level is restored. After 45 s the background is
   reset and tried again. A share that rises although we slow down is caused by others: the level is cut
   again.
4. **Growth**: once the calls sent show 1.25 fewer refusals than allowed, the level grows by 1.05, then by
   1.2, 1.4, and 1.8 every 0.3 s, until there is excess. Failed growth is tried again after 1, 2,
   4, 8 s.

Worked example: quota 6,000 a minute, and another tenant takes 70 % of it at t = 0. In the next 0.3 s 30
calls are sent and 20 refused: a share of 0.67, more than half, so there is no trial. The level becomes 1 *
(1 - 0.67) / (1 - 0.03) = 0.34, and after another excess of 12 % 0.31: 31 calls a second are sent and 30
accepted, which is a share of 3.2 %. The tenant leaves at t = 30. After 42 calls without a refusal (1.4 s;
0.03 * 42 = 1.26) the level grows to 0.33, 0.39, 0.55, 0.98 and 1.

Why not AIMD (additive increase, multiplicative decrease)? It cuts at each refusal, so its rate settles near
sqrt(accepted refusals a second / refused share), independent of the quota: measured, with 1 % refused at
random, it used 31 % of 6,000 calls a minute and 14 % of 60,000. Sources: client-side throttling in Google's
"Site Reliability Engineering", chapter 21; BBR (Cardwell et al. 2016) for steering by what was delivered;
Wald's "Sequential Tests of Statistical Hypotheses".
"""

from math import inf, log, sqrt

from msgspec import Struct

TARGET = 0.03
"""Intended share of refused calls; 2 to 5 % are needed to know the limit of a quota."""

MIN_CALLS = 20
"""Fewest calls for a share."""

MIN_SPAN_S = 1.0
"""Shortest time for a share, seconds: quotas that are enforced each second refuse in clusters."""

HEAVY = 0.5
"""Share above which no trial is needed: no judge refuses half of all calls at random."""

LIKELY = 0.12
"""Largest share that is believed to be random though the calls did not become fewer in the trial, as when the
machine or the load is slower than the level: such a trial has tried nothing."""

MIN_MIXED = 2
"""Counts with refused and accepted calls that a share above `HEAVY` needs: a cluster is not a share."""

SHORTEST_S = 0.001
"""Shortest time between counts, seconds; those of many processes may arrive together."""

SETTLE_S = 1.0
"""Time after a cut in which calls do not count, seconds: the judge's bucket is still empty."""

Z = 3.0
"""Standard deviations of the count of refusals beyond which there is excess."""

DEPTH = 0.5
"""Part of the refused share by which a trial goes below the cut: a visible effect at little loss."""

FORGET_S = 45.0
"""Time after which a background is tried again, seconds, because random refusals end too."""

OURS, RANDOM = -3.5, 5.0
"""Bounds of the trial's log odds: wrong once in 33 trials one way, once in 150 the other way."""

PATIENCE = 1.25
"""Refusals below the allowed number before the level grows. With fewer, growth fails too often."""

HOLD_S, MAX_HOLD_S = 1.0, 8.0
"""Seconds after a cut before growth; doubled after each failed growth, so that failures cost little."""

STEPS = (1.05, 1.2, 1.4, 1.8)
"""Factors of growth; the last one repeats. The first are small, because they often fail."""

STEP_S = 0.3
"""Seconds between two steps of growth: several latencies of a refusal, which is fast."""

MIN_LEVEL = 0.002
"""Lowest level, as a part of `most`: from there it grows to the maximum in four seconds."""

LARGEST_CUT = 0.2
"""A cut goes at most to this share of the level, because short counts are unreliable."""

FAILED_S = 5.0
"""Excess within this time after growth, seconds, means that the growth failed, without a trial."""


class ShareController(Struct, kw_only=True):
    """Finds the level at which a small share of the calls is refused, from counts. Times are of one clock.

    most: the level without refusals: 1 for a share of a rate, or a number of slots.
    target: intended share of refused calls, 0 to 1, in addition to the background.
    lag_s: delay of the counts, seconds; counts for this time after a decision are not used.
    level: the usable part, in (0, most]. background: share refused independent of our rate.
    last: the last decision in words, for traces.

    The other fields are the counts since the last decision, and the state of a trial.
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
    paced_at: float = 0.0
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
        """Counts sent calls and those of them that were refused.

        Returns whether a decision was made; calls sent before it must not be counted later.
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
        """Resets the counts and ends a trial, as after a storm."""
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
            self.pace, self.paced_at = pace, before
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
            if share > LIKELY and pace > self.pace * (1 + self.level / self.paced_at) / 2:
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
