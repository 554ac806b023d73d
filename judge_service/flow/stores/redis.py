"""A store in Redis or Valkey. A lease is one run of a script, on the server's clock."""

from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.flow.stores import Ask, Lease, Rules, StoreFailed
from judge_service.redaction import hide_in

VERSION = 3
"""Version of script and keys. Raise it with every change of the data that `lease.lua` stores."""

TIMEOUT_S = 0.1
"""Longest wait for an answer, seconds: shorter than a lease; a healthy one takes well under 5 ms."""

MAX_CONNECTIONS = 4


class RedisStoreStatistics(Struct, frozen=True, kw_only=True):
    """Counts of the store. operations: requests sent. failures: requests without a lease."""

    operations: int
    failures: int


class RedisStore:
    """Quotas shared through Redis >= 5 or Valkey. Needs the extra `redis`. Connects at the first request.

    url: `redis://[user:password@]host:port/db` or `rediss://` for TLS.
    timeout_s: longest wait for a connection and for an answer, by default 0.1.
    """

    def __init__(
        self, url: str, *, timeout_s: float = TIMEOUT_S, rules: Rules | None = None
    ) -> None:
        from redis.asyncio import Redis  # noqa: PLC0415 - an extra, and 60 ms to import
        from redis.asyncio.retry import Retry  # noqa: PLC0415 - as above
        from redis.backoff import NoBackoff  # noqa: PLC0415 - as above
        from redis.exceptions import ConnectionError as Disconnected  # noqa: PLC0415 - as above

        self._timeout_s = timeout_s
        self._rules = msgspec.json.encode(rules or Rules())
        self._client = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            max_connections=MAX_CONNECTIONS,
            driver_info=None,  # otherwise every new connection reads the version of redis-py from disk
            # one immediate retry, for a connection that the server closed while idle
            retry=Retry(NoBackoff(), 1, supported_errors=(Disconnected,)),
        )
        here = files(__package__)
        parts = [here.joinpath(name).read_text() for name in ("share.lua", "lease.lua")]
        self._script = self._client.register_script("\n".join(parts))
        self._operations = self._failures = 0

    def __repr__(self) -> str:
        pool = self._client.connection_pool.connection_kwargs
        return f"RedisStore({pool.get('host')}:{pool.get('port')}, timeout {self._timeout_s:g} s)"

    def statistics(self) -> RedisStoreStatistics:
        """The counts so far."""
        return RedisStoreStatistics(operations=self._operations, failures=self._failures)

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """Sends one EVALSHA; after a restart of the server the script is loaded again.

        Raises StoreFailed.
        """
        from redis.exceptions import RedisError  # noqa: PLC0415 - loaded by __init__

        self._operations += 1
        try:
            reply: Any = await self._script(
                keys=_keys(quota), args=[self._rules, msgspec.json.encode(ask)]
            )
            return msgspec.json.decode(reply, type=Lease)
        except (RedisError, OSError, TimeoutError, msgspec.MsgspecError) as problem:
            self._failures += 1
            # an old server that does not support AUTH repeats its arguments in the error
            password = str(self._client.connection_pool.connection_kwargs.get("password") or "")
            what = hide_in(f"{type(problem).__name__}: {problem}", (password,))
            raise StoreFailed(f"{self!r} gave no lease: {what}") from problem

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _keys(quota: str) -> list[str]:
    tag = f"judge:{{{quota}}}:v{VERSION}"
    return [f"{tag}:line", f"{tag}:clients"]
