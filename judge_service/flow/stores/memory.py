"""A store for the limiters of one process. It is also the readable form of the algorithm of `lease.lua`."""

import asyncio
from collections.abc import Mapping
from math import isclose

from msgspec import Struct, field

from judge_service.flow.share import ShareController
from judge_service.flow.stores import Ask, Lease, Rules

ROUNDING = 1e-9
"""Tolerance for rounding errors of units, and of a pace that passed through JSON."""


class MemoryStoreStatistics(Struct, frozen=True, kw_only=True):
    """Counts of the store. operations: requests answered. clients: by quota, how many share it."""

    operations: int
    clients: Mapping[str, int]


class TimeLine(Struct):
    """One quota: the time lines of its resources, and the clients that share it. The caller has the clock.

    until_s: by client, until when it is counted. next_s: by resource, when its line is free.
    share: controls which part of the quota is granted.
    lost_clients, learning_until_s: clients that spend without the store, and until when they are counted.
    since_s: the time of the first record. at_s: the time of the last request.
    told_clients, told_until_s: clients known from before a loss of memory, and until when they count.
    """

    rules: Rules
    until_s: dict[str, float] = {}
    next_s: dict[str, float] = {}
    share: ShareController = field(default_factory=ShareController)
    lost_clients: int = 0
    learning_until_s: float = 0.0
    since_s: float | None = None
    at_s: float = 0.0
    told_clients: int = 0
    told_until_s: float = 0.0

    def lease(self, ask: Ask, now_s: float) -> Lease:
        """Answers one request; the caller's clock must not go back."""
        self._count_refused(ask, now_s)
        pace = self.share.level
        present = self._count(ask, now_s)
        spending = max(present, self._count_lost(ask, now_s))
        dealt = pace * (1 - self.rules.alone_share * (1 - present / spending))
        rates = {name: amount / 60 * dealt for name, amount in ask.per_minute.items()}
        for name, rate in rates.items():
            back_s = ask.returned.get(name, 0) / rate
            self.next_s[name] = max(now_s, self.next_s.get(name, now_s) - back_s)
        self._be_told(ask, now_s)
        clients = max(spending, self.told_clients * (now_s < self.told_until_s))
        most = {name: self._most(rates[name], ask.least.get(name, 1), clients) for name in ask.want}
        granted = {name: min(units, most[name]) for name, units in ask.want.items()}
        start_s = self._append(granted, rates, now_s)
        if not ask.leaving:
            self.until_s[ask.client] = start_s + self.rules.active_s
        own_s, each_s = (longest_s(units, rates) for units in (granted, most))
        return Lease(
            granted=granted,
            delay_s=start_s - now_s,
            valid_for_s=self.rules.valid_s,
            clients=clients,
            pace=pace,
            seen=repr(now_s),
            taken_s=own_s + (clients - 1) * each_s * (start_s > now_s),
        )

    def clients(self, now_s: float) -> int:
        """How many clients share the quota now."""
        self.until_s = {name: until for name, until in self.until_s.items() if until > now_s}
        return len(self.until_s)

    def is_kept(self, now_s: float) -> bool:
        """Whether the line is still valid: the clock has not gone back, and a request came recently."""
        return self.at_s <= now_s <= max([self.at_s, *self.next_s.values()]) + self.rules.keep_s

    def _count_refused(self, ask: Ask, now_s: float) -> None:
        """Counts the refused calls. Calls that were sent at another pace do not count for this one."""
        if ask.sent and isclose(ask.pace, self.share.level, rel_tol=ROUNDING):
            self.share.note(now_s, sent=ask.sent, refused=ask.refused)

    def _count(self, ask: Ask, now_s: float) -> int:
        if ask.leaving:
            self.until_s.pop(ask.client, None)
        else:
            self.until_s[ask.client] = now_s + self.rules.active_s
        return max(1, self.clients(now_s))

    def _count_lost(self, ask: Ask, now_s: float) -> int:
        """How many clients shared the quota before they lost the store: those still absent use it alone."""
        is_learning = now_s < self.learning_until_s
        if ask.lost_clients and not is_learning:
            self.learning_until_s = now_s + self.rules.learning_s
        if ask.lost_clients or not is_learning:
            self.lost_clients = max(ask.lost_clients, self.lost_clients * is_learning)
        return self.lost_clients

    def _be_told(self, ask: Ask, now_s: float) -> None:
        """Learns from the client what the store has lost since its last answer to this client.

        If the client's last answer is older than the first record, the record of it is lost. If it is newer
        than the last record, this store is a copy that lags behind: then every client's answer is new to it.
        """
        if self.since_s is None:
            self.since_s = self.at_s = now_s
        seen_s = float(ask.seen or self.at_s)
        if seen_s > self.at_s:
            self.since_s = now_s
        if not self.since_s <= seen_s <= self.at_s:
            until_s = now_s + ask.taken_s
            self.next_s = {name: max(until_s, next_s) for name, next_s in self.next_s.items()}
            self.told_clients = max(ask.clients, self.told_clients * (now_s < self.told_until_s))
            self.told_until_s = max(self.told_until_s, until_s)
        self.at_s = now_s

    def _most(self, rate: float, least: int, clients: int) -> int:
        """Most units of one chunk, but at least the units of one call."""
        rules = self.rules
        batch_s = min(rules.batch_s, rules.round_s / clients)
        batch = min(rules.batch_calls * least, rate * batch_s)
        return max(least, int(max(rate * rules.chunk_s / clients, batch) + ROUNDING))

    def _append(
        self, granted: Mapping[str, int], rates: Mapping[str, float], now_s: float
    ) -> float:
        """Appends a chunk to the lines and returns its start."""
        start_s = max((self.next_s[name] for name in granted), default=now_s)
        for name, units in granted.items():
            begin_s = max(self.next_s[name], start_s - self.rules.lag_s)
            self.next_s[name] = begin_s + units / rates[name]
        return start_s


def longest_s(units: Mapping[str, int], rates: Mapping[str, float]) -> float:
    """The longest time that any resource needs for its units at its rate."""
    return max((amount / rates[name] for name, amount in units.items()), default=0.0)


class MemoryStore:
    """Quotas shared by the limiters of one event loop."""

    def __init__(self, rules: Rules | None = None) -> None:
        self._rules = rules or Rules()
        self._lines: dict[str, TimeLine] = {}
        self._operations = 0

    def __repr__(self) -> str:
        return "MemoryStore()"

    def statistics(self) -> MemoryStoreStatistics:
        """The number of requests so far, and of clients now."""
        now_s = asyncio.get_running_loop().time()
        clients = {quota: line.clients(now_s) for quota, line in self._lines.items()}
        return MemoryStoreStatistics(operations=self._operations, clients=clients)

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """Answers immediately. The line of a quota is kept as long as the store."""
        self._operations += 1
        line = self._lines.setdefault(quota, TimeLine(self._rules))
        return line.lease(ask, asyncio.get_running_loop().time())

    async def aclose(self) -> None:
        """Nothing to close."""
