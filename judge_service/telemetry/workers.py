"""Several worker processes shown as one: each leaves a snapshot in a directory that all can read.

One port, several workers: a scrape and the dashboard's page reach one of them. It adds what the others
left there (docs/decisions/0013). A counter must never fall, so the snapshot of a worker that died is
counted on: by the worker that takes its place and inherits it, by everybody until then.
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
"""How old what the others know of a worker may be; the dashboard asks as often."""

STALE_S = 10.0
"""A worker that was silent for so long has died, or hangs: its counts stay, its gauges do not."""

MAX_SNAPSHOT_BYTES = 10_000_000
"""Ten times what 40 criteria on 40 targets make."""

SUFFIX = ".judge.json"

_DECODE = msgspec.json.Decoder(Snapshot).decode


class Workers:
    """All workers' snapshots.

    window: this worker's counts.
    directory: where snapshots are left, the same for all workers; `None` when there is one worker only.
        The HTTP service takes it from `PROMETHEUS_MULTIPROC_DIR`.
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
        """Whether other workers, if there are any, are seen."""
        return self._directory is not None

    @asynccontextmanager
    async def running(self, state: Callable[[], ServiceState]) -> AsyncIterator[None]:
        """Watches `state`, and publishes each second when there is a directory."""
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
        """This worker's, as of now, then those of the others, about a second old."""
        return await asyncio.to_thread(self._read_all, self._own())

    def _own(self) -> bytes:
        return self._window.snapshot(self._pid)

    async def _publish_until(self, ending: asyncio.Event, directory: Path) -> None:
        """Each second and once more at the end; one at a time, because a thread cannot be cancelled."""
        is_last = False
        while not is_last:
            is_last = ending.is_set()
            with suppress(OSError):  # a full disk costs the sight of this worker, not its work
                await asyncio.to_thread(self._publish, directory, self._own())
            with suppress(TimeoutError):
                await asyncio.wait_for(ending.wait(), PUBLISH_S)

    def _publish(self, directory: Path, snapshot: bytes) -> None:
        """Whole or not at all: a reader must not meet half of it."""
        path = self._path(directory, self._pid)
        draft = path.with_suffix(".draft")
        draft.write_bytes(snapshot)
        draft.replace(path)

    def _inherit(self, directory: Path) -> Snapshot | None:
        """Takes over the snapshot of one worker that has died. Renaming decides who gets it."""
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
    """The snapshot, without its gauges when nobody keeps them up to date."""
    if now_s - snapshot.at_s <= STALE_S:
        return snapshot
    return msgspec.structs.replace(snapshot, state=ServiceState())


def _read(path: Path) -> Snapshot | None:
    """`None` for a file that has just been taken over, or is none of ours."""
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
