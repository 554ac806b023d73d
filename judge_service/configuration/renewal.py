"""Keeps an object opened from a configuration, and replaces it when the configuration changes."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Any, Generic, TypeVar

from msgspec import Struct

from judge_service.configuration.reading import Configured
from judge_service.errors import JudgeServiceError, SettingsError

T = TypeVar("T")

_log = logging.getLogger("judge_service")


class RenewalStatistics(Struct, frozen=True, kw_only=True):
    """reads: of the configuration. opened: versions that worked. refused: reads and versions that failed.
    closing: old versions that are in use or being closed.
    """

    reads: int
    opened: int
    refused: int
    closing: int


class _Edition(Generic[T]):
    """An open version. It is closed when it is retired and no longer in use."""

    def __init__(self, configured: Configured, value: T, closing: AsyncExitStack) -> None:
        self.configured = configured
        self.value = value
        self.closing = closing
        self.users = 0
        self.retired = False


class Renewal(Generic[T]):
    """Lends the object opened from the newest configuration that works.

    read: reads the present configuration.
    open_: opens an object (a judge) from it, which is closed when it is no longer in use.
    ttl_s: how long a remote configuration is valid. The first use after that starts a renewal in the
        background and does not wait for it. A configuration without remote parts is read once.
    wall_s: wall clock, seconds, because the loop's clock may stand still while a process is frozen.

    The first use waits and raises its errors; the next one tries again. Later failures (not reachable, not
    readable, refused) are only logged, once for each version or reason.
    """

    def __init__(
        self,
        read: Callable[[], Awaitable[Configured]],
        open_: Callable[[Configured], AbstractAsyncContextManager[T]],
        *,
        ttl_s: float,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self._read = read
        self._open = open_
        self._ttl_s = ttl_s
        self._wall_s = wall_s
        self._read_at_s = 0.0
        self._edition: _Edition[T] | None = None
        self._opening: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._closings: set[asyncio.Task[None]] = set()
        self._retired: set[_Edition[T]] = set()
        self._told: object = None
        self._reads = self._opened = self._refused = 0

    def __repr__(self) -> str:
        origin = self._edition.configured.origin if self._edition else "nothing yet"
        return f"<Renewal of {origin or 'the environment'}, {self.statistics()}>"

    def statistics(self) -> RenewalStatistics:
        """Counts since the start."""
        return RenewalStatistics(
            reads=self._reads,
            opened=self._opened,
            refused=self._refused,
            closing=len(self._retired),
        )

    @asynccontextmanager
    async def use(self) -> AsyncIterator[T]:
        """Lends the newest working object, which stays open until the block ends. Raises SettingsError."""
        edition = self._edition
        if edition is None:
            edition = await self._first()
        elif self._is_due(edition):
            self._read_at_s = self._wall_s()
            self._renewing = asyncio.create_task(self._renew(edition))
        edition.users += 1
        try:
            yield edition.value
        finally:
            edition.users -= 1
            self._close_unused(edition)

    async def aclose(self) -> None:
        """Closes everything, in use or not."""
        under_way = [task for task in (self._opening, self._renewing) if task is not None]
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)
        if self._edition is not None:
            self._retire(self._edition)
            self._edition = None
        for edition in list(self._retired):
            edition.users = 0
            self._close_unused(edition)
        await asyncio.gather(*self._closings)

    async def _first(self) -> _Edition[T]:
        """Opens the first version, once for all concurrent callers."""
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open_first())
        await asyncio.shield(self._opening)
        if self._edition is None:
            raise SettingsError("the judge was closed while it was being opened; call again")
        return self._edition

    async def _open_first(self) -> None:
        self._read_at_s = self._wall_s()
        self._reads += 1
        self._edition = await self._open_edition(await self._read())

    async def _open_edition(self, configured: Configured) -> _Edition[T]:
        async with AsyncExitStack() as closing:
            try:
                value = await closing.enter_async_context(self._open(configured))
            except SettingsError as problem:
                if not configured.is_remote:
                    raise
                raise type(problem)(f"{configured.origin}: {problem}") from None
            self._opened += 1
            return _Edition(configured, value, closing.pop_all())

    def _is_due(self, edition: _Edition[T]) -> bool:
        if not edition.configured.is_remote or (self._renewing and not self._renewing.done()):
            return False
        return not 0 <= self._wall_s() - self._read_at_s < self._ttl_s

    async def _renew(self, old: _Edition[T]) -> None:
        configured = None
        try:
            self._reads += 1
            configured = await self._read()
            if configured == old.configured:
                self._told = None  # a bad version was withdrawn
            if configured in (old.configured, self._told):
                return
            new = await self._open_edition(configured)
        except Exception as problem:  # noqa: BLE001 - any error: the good version stays in use
            self._refuse(configured or str(problem), problem)
            return
        self._edition, self._told = new, None
        self._retire(old)
        _log.info("a new version of the configuration (%s) is in use", configured.origin)

    def _refuse(self, what: object, problem: Exception) -> None:
        """Logs a refused version, or a reason without a version, if it differs from the last."""
        self._refused += 1
        if what != self._told:
            self._told = what
            expected = isinstance(problem, JudgeServiceError)
            text = "the new configuration is not used, the last good one stays: %s"
            _log.warning(text, problem, exc_info=None if expected else problem)

    def _retire(self, edition: _Edition[T]) -> None:
        edition.retired = True
        self._retired.add(edition)
        self._close_unused(edition)

    def _close_unused(self, edition: _Edition[T]) -> None:
        if edition.retired and not edition.users and edition in self._retired:
            self._start(self._close(edition))

    def _start(self, closing: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(closing)
        self._closings.add(task)
        task.add_done_callback(self._closings.discard)

    async def _close(self, edition: _Edition[T]) -> None:
        """Closes a version in the background, because that waits for the store and calls on the wire."""
        if edition in self._retired:
            self._retired.discard(edition)
            try:
                await edition.closing.aclose()
            except Exception:  # noqa: BLE001 - the new version is in use already
                _log.exception("an old version of the judge did not close well")
