"""Lines to standard output that never block the event loop: a thread writes them.

A pipe whose reader has stopped blocks its writer. Here the writer is a thread of our own; the event loop
only appends to a bounded buffer. Lines that do not fit are dropped, counted and reported.
"""

import queue
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import msgspec
from msgspec import Struct

GATHER_S = 0.05
"""How long the thread collects lines before it writes them: one write then serves about a hundred samples,
and a person who follows the log does not notice."""

MAX_BUFFERED_BYTES = 4_000_000
"""Size of the buffer for a slow reader: about 10,000 samples."""

FLUSH_S = 2.0
"""How long a flush waits for a reader that does not read; those of Lambda and Docker always read."""


class LineStatistics(Struct, frozen=True, kw_only=True):
    """written: lines written. dropped: lines for which the buffer was full or no reader was left.

    buffered_bytes: bytes that wait now.
    """

    written: int
    dropped: int
    buffered_bytes: int


class Lines:
    """One JSON object per line.

    write: takes a block of whole lines; may block and may raise OSError. The default writes to the
        `sys.stdout` of that moment.

    Each counter is changed by one thread only, so none needs a lock.
    """

    def __init__(self, write: Callable[[bytes], None] | None = None) -> None:
        self._write = write or to_stdout
        self._encode = msgspec.json.Encoder().encode
        self._buffer: deque[bytes] = deque()
        self._added_bytes = self._refused = 0
        self._removed_bytes = self._written = self._lost = self._told = 0
        self._wakes: queue.SimpleQueue[queue.SimpleQueue[None] | None] = queue.SimpleQueue()
        self._awake = False
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<Lines {self.statistics()}>"

    def statistics(self) -> LineStatistics:
        """Counts since the start."""
        return LineStatistics(
            written=self._written,
            dropped=self._refused + self._lost,
            buffered_bytes=self._added_bytes - self._removed_bytes,
        )

    def add(self, record: Mapping[str, Any]) -> None:
        """Adds one line: takes microseconds, never blocks. Only the event loop's thread may call it."""
        line = self._encode(record) + b"\n"
        if self._added_bytes - self._removed_bytes + len(line) > MAX_BUFFERED_BYTES:
            self._refused += 1
            return
        self._added_bytes += len(line)
        self._buffer.append(line)
        if not self._awake:
            self._awake = True
            self._wake(None)

    def flush(self, timeout_s: float = FLUSH_S) -> bool:
        """Waits until all lines added before are written; returns `False` if that takes too long.

        It blocks: do not call it on the event loop. Call it before a Lambda environment is frozen.
        """
        if self._added_bytes == self._removed_bytes:
            return True
        done: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._wake(done)
        try:
            done.get(timeout=timeout_s)
        except queue.Empty:
            return False
        return True

    def _wake(self, done: queue.SimpleQueue[None] | None) -> None:
        self._wakes.put(done)
        if self._thread is None:
            self._start()

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="judge-lines", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            done = self._wakes.get()
            if done is None:
                done = self._gather()
            self._awake = False  # first, so that a line added from here on wakes this thread again
            self._write_out()
            if done is not None:
                done.put(None)

    def _gather(self) -> queue.SimpleQueue[None] | None:
        """Waits while lines are collected; a flush ends the wait."""
        try:
            return self._wakes.get(timeout=GATHER_S)
        except queue.Empty:
            return None

    def _write_out(self) -> None:
        lines = [self._buffer.popleft() for _ in range(len(self._buffer))]
        if not lines:
            return
        untold = self._refused + self._lost - self._told
        confession = [self._confession(untold)] if untold else []
        try:
            self._write(b"".join([*lines, *confession]))
            self._written += len(lines)
            self._told += untold
        except (OSError, ValueError):  # the reader has gone, or the file is closed
            self._lost += len(lines)
        self._removed_bytes += sum(map(len, lines))

    def _confession(self, dropped: int) -> bytes:
        record = {"level": "WARNING", "message": "lines_dropped", "dropped": dropped}
        return self._encode(record) + b"\n"


def to_stdout(block: bytes) -> None:
    """Writes to the present `sys.stdout`: a pipe, a file, a notebook's cell."""
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:
        sys.stdout.write(block.decode())
    else:
        binary.write(block)
    sys.stdout.flush()


def stamp(now_s: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC, with milliseconds."""
    whole = int(now_s)
    return f"{_second(whole)}.{int((now_s - whole) * 1000):03d}Z"


@lru_cache(maxsize=2)
def _second(whole_s: int) -> str:
    """The part up to the second; cached, because the lines of a second share it."""
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole_s))
