"""A store in a file, for the processes of one machine. It needs no server and no package.

The file holds the time lines of all quotas. A lease locks the file, reads it, answers, and writes it
again, within some 0.1 ms and without a switch to another task. The lock is the kernel's (`flock`), so it
ends with the process that has it.

A file that is missing, damaged by a crash, or from before a restart of the machine is a store that has
lost its memory: the clients send what they know (`Ask.seen`).
"""

import asyncio
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import msgspec
from msgspec import Struct

from judge_service.flow.stores import Ask, Lease, Rules, StoreFailed
from judge_service.flow.stores.memory import TimeLine

TIMEOUT_S = 0.1
"""Longest wait for the lock, seconds: longer than any healthy wait (under 1 ms), shorter than a lease.

If a process is stopped while it has the lock, each request of the others takes this long; then each
continues with its share."""

LOOK_AGAIN_S = 0.002
"""Seconds between two attempts to lock a file that another process has locked."""

CHECKSUM_BYTES = 4

Lines = dict[str, TimeLine]

_DECODE = msgspec.msgpack.Decoder(Lines).decode
_ENCODE = msgspec.msgpack.Encoder().encode  # JSON knows no infinity


class FileStoreStatistics(Struct, frozen=True, kw_only=True):
    """Counts of the store. operations: requests. failures: requests without a lease."""

    operations: int
    failures: int


class FileStore:
    """Quotas shared by the processes of one user on one machine.

    path: the file, the same for all processes. It is created if it is missing, and only its user can read
        it. It must be on a local file system, best one in memory.
    timeout_s: longest wait for the lock, by default 0.1.
    clock: seconds, the same in all processes; it never goes back while the machine runs.

    Raises OSError if the file cannot be opened.
    """

    def __init__(
        self,
        path: str,
        *,
        timeout_s: float = TIMEOUT_S,
        rules: Rules | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._timeout_s = timeout_s
        self._rules = rules or Rules()
        self._clock = clock
        self._file = _open(path)
        self._operations = self._failures = 0

    def __repr__(self) -> str:
        return f"FileStore({self._path})"

    def statistics(self) -> FileStoreStatistics:
        """The counts so far."""
        return FileStoreStatistics(operations=self._operations, failures=self._failures)

    async def lease(self, quota: str, ask: Ask) -> Lease:
        """Locks the file, reads it, and writes the lease.

        Raises StoreFailed.
        """
        self._operations += 1
        try:
            await self._lock()
            try:
                return self._answer(quota, ask)
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        except OSError as problem:
            self._failures += 1
            raise StoreFailed(f"{self!r} gave no lease: {problem}") from problem

    async def aclose(self) -> None:
        """Closes the file, but does not remove it."""
        os.close(self._file)

    async def _lock(self) -> None:
        """Waits for the lock. Raises TimeoutError, an OSError."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + self._timeout_s
        while not self._try_to_lock():
            if loop.time() >= until_s:
                raise TimeoutError(f"locked by another process for {self._timeout_s:g} s")
            await asyncio.sleep(LOOK_AGAIN_S)

    def _try_to_lock(self) -> bool:
        """Tries to lock the file. Returns whether it is still the file at the path, which may be replaced."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _is_at(self._path, self._file):
            return True
        replaced, self._file = self._file, _open(self._path)
        os.close(replaced)
        return False

    def _answer(self, quota: str, ask: Ask) -> Lease:
        now_s = self._clock()
        lines = {name: line for name, line in self._read().items() if line.is_kept(now_s)}
        lease = lines.setdefault(quota, TimeLine(self._rules)).lease(ask, now_s)
        content = _ENCODE(lines)
        checked = crc32(content).to_bytes(CHECKSUM_BYTES) + content
        os.pwrite(self._file, checked, 0)
        os.ftruncate(self._file, len(checked))
        return lease

    def _read(self) -> Lines:
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        checksum, rest = content[:CHECKSUM_BYTES], content[CHECKSUM_BYTES:]
        if crc32(rest).to_bytes(CHECKSUM_BYTES) != checksum:
            return {}
        try:
            return _DECODE(rest)
        except msgspec.MsgspecError:  # of another version
            return {}


def _open(path: str) -> int:
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)


def _is_at(path: str, file: int) -> bool:
    try:
        return os.path.samestat(Path(path).stat(), os.fstat(file))
    except FileNotFoundError:
        return False
