"""How fast calls go, steered by the share of them that the judge refuses. Arithmetic alone."""

from math import inf, log, sqrt

from msgspec import Struct

TARGET = 0.035
MIN_CALLS = 20
MIN_SPAN_S = 1.0
HEAVY = 0.5
MIN_MIXED = 2
SETTLE_S = 1.0
Z = 3.0
DEPTH = 0.5
FORGET_S = 45.0
OURS, RANDOM = -3.5, 5.0
PATIENCE = 1.25
HOLD_S, MAX_HOLD_S = 1.0, 8.0
STEPS = (1.05, 1.4, 1.8)
STEP_S = 0.5
MIN_LEVEL = 0.002
LARGEST_CUT = 0.2
FAILED_S = 5.0


class ShareController(Struct, kw_only=True):
    """The level at which a small share of the calls is refused."""

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
        """Counts calls; whether a decision was made, after which earlier calls do not count."""
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
        """Counts anew from here."""
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
        pace = self.sent / (now_s - self.since_s)
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
            pace = self.sent / (now_s - self.since_s)
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
        self.surplus = -saved
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
