"""A store in Redis or Valkey: one script, one operation a lease, on the server's clock."""

from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from judge_service.flow.stores import Ask, Lease, Rules, StoreFailed
from judge_service.redaction import hide_in

VERSION = 3
"""Of script and keys together. Raise it with every change of what `lease.lua` keeps."""

TIMEOUT_S = 0.1
"""Longer than any healthy answer in one network (well under 5 ms), shorter than a lease."""

MAX_CONNECTIONS = 4


class RedisStoreStatistics(Struct, frozen=True, kw_only=True):
    """operations: asks sent. failures: those that brought no lease."""

    operations: int
    failures: int


class RedisStore:
    """Quotas shared through Redis >= 5 or Valkey. Needs the extra `redis`. Connects when first asked.

    url: `redis://[user:password@]host:port/db` or `rediss://` for TLS.
    timeout_s: for connecting and for an answer, by default 0.1.
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
            driver_info=None,  # telling it costs a look into the package's files for each connection
            # once more and at once, for a connection that the server closed while idle
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
        """What was asked so far."""
        return RedisStoreStatistics(operations=self._operations, failures=self._failures)

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """One EVALSHA; after a restart of the server the script is loaded again.

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
            # an old server that does not know AUTH echoes its arguments
            password = str(self._client.connection_pool.connection_kwargs.get("password") or "")
            what = hide_in(f"{type(problem).__name__}: {problem}", (password,))
            raise StoreFailed(f"{self!r} gave no lease: {what}") from problem

    async def aclose(self) -> None:
        """Closes the connections."""
        await self._client.aclose()


def _keys(quota: str) -> list[str]:
    tag = f"judge:{{{quota}}}:v{VERSION}"
    return [f"{tag}:line", f"{tag}:clients"]
