"""Shows several worker processes as one: each writes a snapshot to a directory that all can read.

All workers share a port, so a scrape or the dashboard's page reaches one of them, which adds the snapshots
of the others (docs/decisions/0013). A counter must never fall: the snapshot of a worker that died is still
added, until the worker that replaces it inherits its counts.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec

from judge_service.telemetry.state import ServiceState
from judge_service.telemetry.window import Snapshot, Window

PUBLISH_S = 1.0
"""Seconds between two snapshots of a worker; the dashboard refreshes as often."""

STALE_S = 10.0
"""A worker without a new snapshot for this long has died or hangs: its counts stay, its gauges do not."""

MAX_SNAPSHOT_BYTES = 10_000_000
"""Largest snapshot that is read: ten times the size with 40 criteria and 40 targets."""

SUFFIX = ".judge.json"

_DECODE = msgspec.json.Decoder(Snapshot).decode


class Workers:
    """The snapshots of all workers.

    window: this worker's counts.
    directory: of the snapshots, the same for all workers; `None` when there is one worker only. The API
        takes it from `PROMETHEUS_MULTIPROC_DIR`.
    """

    def __init__(
        self, window: Window, directory: Path | None = None, *, pid: int | None = None
    ) -> None:
        self._window = window
        self._directory = directory
        self._pid = os.getpid() if pid is None else pid

    def __repr__(self) -> str:
        return f"<Workers in {self._directory}>" if self._directory else "<Workers: this one only>"

    @property
    def sees_others(self) -> bool:
        """Whether the snapshots of other workers are read."""
        return self._directory is not None

    @asynccontextmanager
    async def running(self, state: Callable[[], ServiceState]) -> AsyncIterator[None]:
        """Context manager: watches `state`, and writes a snapshot each second if there is a directory."""
        self._window.watch(state)
        if self._directory is None:
            yield
            return
        inherited = await asyncio.to_thread(self._inherit, self._directory)
        if inherited is not None:
            self._window.inherit(inherited.counters)
        ending = asyncio.Event()
        publishing = asyncio.create_task(self._publish_until(ending, self._directory))
        try:
            yield
        finally:
            ending.set()
            await publishing

    async def snapshots(self) -> list[Snapshot]:
        """This worker's present snapshot, then those of the others, which are about a second old."""
        return await asyncio.to_thread(self._read_all, self._own())

    def _own(self) -> bytes:
        return self._window.snapshot(self._pid)

    async def _publish_until(self, ending: asyncio.Event, directory: Path) -> None:
        """Writes a snapshot each second and at the end, one at a time: a thread cannot be cancelled."""
        is_last = False
        while not is_last:
            is_last = ending.is_set()
            with suppress(OSError):  # a full disk must not stop the worker
                await asyncio.to_thread(self._publish, directory, self._own())
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), PUBLISH_S)

    def _publish(self, directory: Path, snapshot: bytes) -> None:
        """Writes the snapshot atomically: a reader must not see half of it."""
        path = self._path(directory, self._pid)
        draft = path.with_suffix(".draft")
        draft.write_bytes(snapshot)
        draft.replace(path)

    def _inherit(self, directory: Path) -> Snapshot | None:
        """Takes over the snapshot of a worker that has died. The worker that renames the file gets it."""
        directory.mkdir(parents=True, exist_ok=True)
        own = self._path(directory, self._pid)
        for path in sorted(directory.glob(f"*{SUFFIX}"), key=lambda path: path != own):
            if path != own and _is_alive(path):
                continue
            with suppress(OSError):
                path.rename(own)
                return _read(own)
        return None

    def _read_all(self, own: bytes) -> list[Snapshot]:
        mine = _DECODE(own)
        if self._directory is None:
            return [mine]
        paths = self._directory.glob(f"*{SUFFIX}")
        others = (_read(path) for path in paths if path != self._path(self._directory, self._pid))
        return [mine, *(_as_of(mine.at_s, other) for other in others if other is not None)]

    @staticmethod
    def _path(directory: Path, pid: int) -> Path:
        return directory / f"{pid}{SUFFIX}"


def _as_of(now_s: float, snapshot: Snapshot) -> Snapshot:
    """The snapshot, without its gauges if they are out of date."""
    if now_s - snapshot.at_s <= STALE_S:
        return snapshot
    return msgspec.structs.replace(snapshot, state=ServiceState())


def _read(path: Path) -> Snapshot | None:
    """Reads a snapshot; `None` for a file that has just been taken over or is not a snapshot."""
    try:
        if path.stat().st_size > MAX_SNAPSHOT_BYTES:
            return None
        return _DECODE(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _is_alive(path: Path) -> bool:
    try:
        os.kill(int(path.name.removesuffix(SUFFIX)), 0)
    except ProcessLookupError:
        return False
    except (ValueError, PermissionError, OverflowError):
        return True
    return True
