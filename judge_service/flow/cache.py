"""A cache of answers in memory (the least recently used is removed first), in front of a shared store."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Generic, Protocol

from msgspec import Struct

from judge_service.flow import B, Handler, R, Request
from judge_service.telemetry.events import CacheLooked, Sink


class CacheStatistics(Struct, frozen=True, kw_only=True):
    """Counts of a cache.

    entries: answers in memory now; expired answers are included until they are looked up or removed.
    hits: requests answered without a call. shared: the hits that the store answered.
    """

    entries: int
    hits: int
    misses: int
    evicted: int
    shared: int = 0

    @property
    def hit_ratio(self) -> float:
        """Share of the requests that were answered without a call; 0 if there were no requests."""
        return self.hits / max(self.hits + self.misses, 1)


class CacheStore(Protocol[R]):
    """A store of answers that several processes share. It never raises.

    It replies within milliseconds, with `None` if it cannot.
    """

    async def get(self, key: str) -> R | None: ...

    def put(self, key: str, result: R) -> None: ...

    def problem(self) -> str:
        """Why the last request to the store failed, one sentence; `""` if it succeeded or there was none."""
        ...


class Cache(Generic[B, R]):
    """Answers a repeated request from the cache, without a call.

    max_entries: most answers in memory; 0 keeps none in memory.
    ttl_s: how long an answer is used, seconds of the loop's clock. The time of an answer from the store
        starts again in memory, so it can be used for up to twice as long.
    key: equal for bodies that have the same answer. With a store the key must contain everything that can
        change an answer, including the judge's model.
    keep: whether a body's answer may be used again (complete, parseable, not refused).
    mark: makes the answer that is returned on a hit (a copy that says it was cached).
    store: is asked for answers that are not in memory, and receives new answers; by default none.
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
        store: CacheStore[R] | None = None,
    ) -> None:
        self._max_entries = max_entries
        self._ttl_s = ttl_s
        self._key = key
        self._keep = keep
        self._mark = mark
        self._sink = sink
        self.store = store
        self._entries: OrderedDict[str, tuple[float, R]] = OrderedDict()
        self._hits = self._misses = self._evicted = self._shared = 0

    def __repr__(self) -> str:
        store = "" if self.store is None else f", store={self.store!r}"
        return f"Cache(max_entries={self._max_entries}, ttl_s={self._ttl_s:g}{store})"

    def statistics(self) -> CacheStatistics:
        """The number of entries now, and the counts so far."""
        return CacheStatistics(
            entries=len(self._entries),
            hits=self._hits,
            misses=self._misses,
            evicted=self._evicted,
            shared=self._shared,
        )

    def __call__(self, request: Request[B], call_next: Handler[B, R]) -> Awaitable[R]:
        if self._max_entries == 0 and self.store is None:
            return call_next(request)
        return self._answer(request, call_next)

    async def _answer(self, request: Request[B], call_next: Handler[B, R]) -> R:
        key = self._key(request.body)
        found = await self._look_up(key)
        self._sink(CacheLooked(hit=found is not None))
        if found is not None:
            self._hits += 1
            return self._mark(found)
        self._misses += 1
        result = await call_next(request)
        if self._keep(request.body, result):
            self._remember(key, result)
            if self.store is not None:
                self.store.put(key, result)
        return result

    async def _look_up(self, key: str) -> R | None:
        found = self._recall(key)
        if found is None and self.store is not None:
            found = await self.store.get(key)
            if found is not None:
                self._shared += 1
                self._remember(key, found)
        return found

    def _recall(self, key: str) -> R | None:
        expires_at, result = self._entries.get(key, (0.0, None))
        if result is None:
            return None
        if expires_at <= asyncio.get_running_loop().time():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return result

    def _remember(self, key: str, result: R) -> None:
        if self._max_entries == 0:
            return
        self._entries[key] = (asyncio.get_running_loop().time() + self._ttl_s, result)
        self._entries.move_to_end(key)
        if len(self._entries) > self._max_entries:
            self._entries.popitem(last=False)
            self._evicted += 1
