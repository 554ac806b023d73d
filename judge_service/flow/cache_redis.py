"""A cache of answers in Redis or Valkey. A failure of the store is a miss, never an error.

All look-ups and answers that arrive during one round trip are sent together in the next. A thousand
simultaneous look-ups therefore take a few round trips on one connection, and the CPU time of the Python
client falls from 50 us an operation to a few.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

from msgspec import Struct

from judge_service.flow import stray
from judge_service.redaction import hide_in

T = TypeVar("T")

PREFIX = "judge:cache:v1:"
"""Prefix of all keys. Raise the version when the form of the values changes: old values are then not read."""

TIMEOUT_S = 0.05
"""Longest wait for a round trip, seconds: ten times a healthy one, short compared with a judge's answer."""

REST_S = 1.0
"""How long the store is not used after a failure, seconds: there is at most one timeout a second."""

MAX_BATCH = 256
"""Most keys in a round trip: they take about 0.5 ms of an otherwise idle server."""

MAX_UNSENT = 10_000
"""Most answers that wait to be stored; others are dropped. They take some megabytes."""

MAX_VALUE_BYTES = 65_536
"""Longest answer that is stored, bytes. A tool's answer and its usage take a few hundred."""


class RedisCacheStatistics(Struct, frozen=True, kw_only=True):
    """Counts since the store was opened.

    hits, misses: look-ups that reached the store. skipped: look-ups that were not sent, in the pause after
    a failure. stored: answers sent. dropped: answers not sent, because they were too large or came in
    such a pause. failures: round trips that failed. unreadable: values that could not be decoded.
    unsent: answers that wait to be sent now.
    """

    hits: int
    misses: int
    skipped: int
    stored: int
    dropped: int
    failures: int
    unreadable: int
    unsent: int


class RedisCache(Generic[T]):
    """A cache of answers by key, in one Redis (not in cluster mode), with a time to live. It never raises.

    After a round trip that fails or takes more than `TIMEOUT_S`, every look-up is a miss for `REST_S`.
    A store that does not answer therefore costs each process one wait of 50 ms a second, for the
    look-ups of that moment; a store that refuses connections costs no wait.

    client: a `redis.asyncio.Redis`, see `connect`; closed with this object.
    ttl_s: how long an answer is kept, seconds of the server's clock.
    encode, decode: convert between answers and bytes; an error of `decode` makes the value a miss.
    """

    def __init__(
        self,
        client: Any,
        *,
        ttl_s: float,
        encode: Callable[[T], bytes],
        decode: Callable[[bytes], T],
    ) -> None:
        self._client = client
        self._ttl_ms = max(round(ttl_s * 1000), 1)
        self._encode = encode
        self._decode = decode
        self._asked: dict[str, asyncio.Future[bytes | None]] = {}
        self._unsent: dict[str, bytes] = {}
        self._pump: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self._failure: BaseException | None = None
        self._hits = self._misses = self._skipped = 0
        self._stored = self._dropped = self._failures = self._unreadable = 0

    def __repr__(self) -> str:
        return f"RedisCache(ttl_s={self._ttl_ms / 1000:g}, timeout_s={TIMEOUT_S:g})"

    def statistics(self) -> RedisCacheStatistics:
        """A copy of the counts."""
        return RedisCacheStatistics(
            hits=self._hits,
            misses=self._misses,
            skipped=self._skipped,
            stored=self._stored,
            dropped=self._dropped,
            failures=self._failures,
            unreadable=self._unreadable,
            unsent=len(self._unsent),
        )

    def problem(self) -> str:
        """Why the last request failed, one sentence; `""` if it succeeded or there was none."""
        if self._failure is None:
            return ""
        pool = self._client.connection_pool.connection_kwargs
        said = f"{type(self._failure).__name__}: {self._failure}".rstrip(": ")
        said = hide_in(said, (str(pool.get("password") or ""),))
        return (
            f"the answer cache at {pool.get('host')}:{pool.get('port')} cannot be used and saves no calls"
            f" ({said}): check `cache.redis_url`"
        )

    async def get(self, key: str) -> T | None:
        """Returns the answer, or `None` if there is none or the store does not reply in time."""
        if self._rests():
            self._skipped += 1
            return None
        waiting = self._asked.get(key)
        if waiting is None:
            waiting = self._asked[key] = asyncio.get_running_loop().create_future()
            self._start()
        # Shielded because several may wait for one key, and one of them may be cancelled.
        value = await asyncio.shield(waiting)
        return None if value is None else self._read(value)

    def put(self, key: str, result: T) -> None:
        """Schedules an answer for storing. The caller does not wait."""
        value = b"" if self._rests() else self._encode(result)
        if 0 < len(value) <= MAX_VALUE_BYTES and len(self._unsent) < MAX_UNSENT:
            self._unsent[key] = value
            self._start()
        else:
            self._dropped += 1

    async def aclose(self) -> None:
        """Sends the answers that wait, if the store accepts them, and closes the connections."""
        try:
            if self._pump is not None:
                await self._pump
        finally:
            await self._client.aclose()

    def _rests(self) -> bool:
        return asyncio.get_running_loop().time() < self._rests_until

    def _start(self) -> None:
        if self._pump is None or self._pump.done():
            self._pump = asyncio.get_running_loop().create_task(self._work())

    async def _work(self) -> None:
        """Makes round trips as long as there are look-ups or answers to send."""
        await asyncio.sleep(0)  # so that all who come in this turn of the loop travel together
        while self._asked or self._unsent:
            asked = _take(self._asked)
            unsent = _take(self._unsent)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    await self._exchange(asked, unsent)
            except BaseException as problem:
                if not isinstance(problem, Exception) and stray(problem) is None:
                    raise
                self._failure = problem  # RedisError, OSError, TimeoutError or a bug: a miss
                self._rest(asked, unsent)

    async def _exchange(
        self, asked: Mapping[str, asyncio.Future[bytes | None]], unsent: Mapping[str, bytes]
    ) -> None:
        pipeline = self._client.pipeline(transaction=False)
        for key, value in unsent.items():
            pipeline.set(PREFIX + key, value, px=self._ttl_ms)
        if asked:
            pipeline.mget([PREFIX + key for key in asked])
        # A full server refuses to store but still answers look-ups, so each command has its own error.
        replies: list[Any] = await pipeline.execute(raise_on_error=False)
        if asked:
            self._hand_out(asked, replies.pop())
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        self._failure = errors[0] if errors else None
        refused = len(errors)
        self._stored += len(replies) - refused
        self._dropped += refused

    def _hand_out(
        self, asked: Mapping[str, asyncio.Future[bytes | None]], values: Sequence[bytes | None]
    ) -> None:
        if isinstance(values, Exception):
            raise values
        for waiting, value in zip(asked.values(), values, strict=True):
            self._hits += value is not None
            self._misses += value is None
            _answer(waiting, value)

    def _rest(
        self, asked: dict[str, asyncio.Future[bytes | None]], unsent: dict[str, bytes]
    ) -> None:
        """Starts a pause without the store: waiting look-ups miss, and unsent answers are dropped."""
        self._failures += 1
        self._rests_until = asyncio.get_running_loop().time() + REST_S
        asked |= self._asked
        self._skipped += len(asked)
        self._dropped += len(unsent) + len(self._unsent)
        self._asked.clear()
        self._unsent.clear()
        for waiting in asked.values():
            _answer(waiting, None)

    def _read(self, value: bytes) -> T | None:
        try:
            return self._decode(value)
        except Exception:  # noqa: BLE001 - anybody may have written there
            self._unreadable += 1
            return None


def connect(url: str) -> Any:
    """A client for `RedisCache`. It connects when it is first used. Needs the extra `redis`.

    url: `redis://[user:password@]host:port/db`, or `rediss://` for TLS.

    Raises ValueError if it is not a URL.
    """
    from redis.asyncio import Redis  # noqa: PLC0415 - an extra, and 60 ms to import
    from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
    from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
    from redis.exceptions import ConnectionError as Disconnected  # noqa: PLC0415 - as above

    return Redis.from_url(
        url,
        socket_timeout=TIMEOUT_S,
        socket_connect_timeout=TIMEOUT_S,
        max_connections=2,  # one is used; a second is needed while a broken one is being closed
        driver_info=None,  # otherwise every new connection reads the version of redis-py from disk
        # one immediate retry, for a connection that the server closed while idle
        retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
    )


def _take(waiting: dict[str, T]) -> dict[str, T]:
    """Removes and returns the oldest entries, at most as many as fit into a round trip."""
    taken = dict(islice(waiting.items(), MAX_BATCH))
    for key in taken:
        del waiting[key]
    return taken


def _answer(waiting: asyncio.Future[bytes | None], value: bytes | None) -> None:
    if not waiting.done():
        waiting.set_result(value)
