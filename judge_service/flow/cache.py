"""Answers kept in memory, the least recently used dropped first."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic

from msgspec import Struct

from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import CacheLooked, Sink


class CacheStatistics(Struct, frozen=True, kw_only=True):
    """entries: kept now, expired ones included until they are looked up or pushed out."""

    entries: int
    hits: int
    misses: int
    evicted: int


class Cache(Generic[B, R]):
    """Answers a question that was answered before without a call.

    max_entries: how many answers are kept at most; 0 keeps none and asks nobody.
    ttl_s: an answer is used for so many seconds of the loop's clock.
    key: equal for bodies that have the same answer.
    keep: whether a body's answer may be used again (complete, parseable, not refused).
    mark: makes the answer handed out on a hit (a copy that says it was cached).
    """

    def __init__(
        self,
        *,
        max_entries: int,
        ttl_s: float,
        key: Callable[[B], str],
        keep: Callable[[B, R], bool],
        mark: Callable[[R], R],
        sink: Sink,
    ) -> None:
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._key = key
        self._keep = keep
        self._mark = mark
        self._sink = sink
        self._entries: OrderedDict[str, tuple[float, R]] = OrderedDict()
        self._hits = self._misses = self._evicted = 0

    def __repr__(self) -> str:
        return f"Cache(max_entries={self._max_entries}, ttl_s={self._ttl_s:g})"

    def statistics(self) -> CacheStatistics:
        """What is kept now and what happened so far."""
        return CacheStatistics(
            entries=len(self._entries), hits=self._hits, misses=self._misses, evicted=self._evicted
        )

    async def __call__(self, request: Request[B], call_next: Handler[B, R]) -> R:
        if self._max_entries == 0:
            return await call_next(request)
        loop = asyncio.get_running_loop()
        key = self._key(request.body)
        found = self._look_up(key, loop.time())
        if found is not None:
            return self._mark(found[1])
        result = await call_next(request)
        if self._keep(request.body, result):
            self._store(key, loop.time(), result)
        return result

    def _look_up(self, key: str, now: float) -> tuple[float, R] | None:
        found = self._entries.get(key)
        if found is not None and found[0] <= now:
            del self._entries[key]
            found = None
        if found is None:
            self._misses += 1
        else:
            self._hits += 1
            self._entries.move_to_end(key)
        self._sink(CacheLooked(hit=found is not None))
        return found

    def _store(self, key: str, now: float, result: R) -> None:
        self._entries[key] = (now + self._ttl_s, result)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self._evicted += 1
