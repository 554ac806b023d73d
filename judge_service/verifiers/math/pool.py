"""A pool of worker processes for mathematics. A worker whose task ends it is replaced."""

import asyncio
import contextlib
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from typing import Literal, get_args

import msgspec

from judge_service.verifiers.math.worker import (
    LENGTH_BYTES,
    Found,
    Task,
    Verdict,
    frame,
)

WORKER = "judge_service.verifiers.math.worker"
"""The module that workers run."""

START_S = 60.0
"""How long a worker may take to start. Import and warm-up take 1 s, 10 s on a busy machine."""

PAUSE_S = 10.0
"""How long tasks are refused at once after a worker that did not start."""

ENDING_S = 1.0
"""A worker that has closed its output is killed if it has not ended after this time."""

WALL_FACTOR = 20.0
"""Ratio of the wall time to the CPU time that a task may take, because the machine may be busy."""

MAX_TASKS = 10_000
"""Most tasks, waiting and running; further ones are refused at once, because each holds its texts."""

MAX_FOUND_BYTES = 64
"""Longest message of a worker."""

Outcome = Verdict | Literal["no_worker", "starved", "closed", "crowded"]
"""The outcome of a task. `starved`: the machine gave it no CPU. `crowded`: too many tasks wait."""


class WorkerEnded(Exception):
    """The process ended or never became ready."""


class Worker:
    """A worker process."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self._decoder = msgspec.msgpack.Decoder(Found)
        self._ready = False
        self._ending = False
        self.reference_read = False
        self.worn = False

    @classmethod
    async def spawn(cls, cpu_s: float, memory_mb: int) -> "Worker":
        """Starts a worker, which is not ready yet. Raises OSError."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", WORKER),
            *(str(cpu_s), str(memory_mb)),
            stdin=PIPE,
            stdout=PIPE,
            stderr=DEVNULL,
            env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},  # no keys
        )
        return cls(process)

    @property
    def alive(self) -> bool:
        return not self._ending and self._process.returncode is None

    async def ready(self) -> None:
        """Waits until the worker can take tasks. Raises WorkerEnded, TimeoutError."""
        if not self._ready:
            async with asyncio.timeout(START_S):
                await self._read()
            self._ready = True

    async def find(self, task: Task) -> Verdict:
        """Runs one task and returns its verdict. Raises WorkerEnded."""
        self.reference_read = False
        assert self._process.stdin is not None  # noqa: S101  it is a PIPE
        with contextlib.suppress(ConnectionError):  # reading will tell what happened
            self._process.stdin.write(frame(task))
            await self._process.stdin.drain()
        while (found := await self._read()).verdict is None:
            self.reference_read = True
        return found.verdict

    async def _read(self) -> Found:
        assert self._process.stdout is not None  # noqa: S101  it is a PIPE
        try:
            header = await self._process.stdout.readexactly(LENGTH_BYTES)
            size = min(int.from_bytes(header, "big"), MAX_FOUND_BYTES)
            found = self._decoder.decode(await self._process.stdout.readexactly(size))
        except (asyncio.IncompleteReadError, ConnectionError, msgspec.MsgspecError):
            self._ending = True
            raise WorkerEnded from None
        self.worn = found.worn
        return found

    async def end(self) -> None:
        """Kills the worker unless it is ending already, and waits for its end."""
        if not self._ending:
            self.kill()
        try:
            async with asyncio.timeout(ENDING_S):
                await self._process.wait()
        except TimeoutError:
            self.kill()
            await self._process.wait()

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()


class Pool:
    """Starts as many workers as are needed, at most `size`."""

    def __init__(self, size: int, cpu_s: float, memory_mb: int) -> None:
        self._size = size
        self._cpu_s = cpu_s
        self._memory_mb = memory_mb
        self._turns = asyncio.Semaphore(size)
        self._tasks = 0
        self._started = 0
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._closed = False
        self._refused_until = 0.0  # loop seconds

    async def ask(self, task: Task) -> Outcome:
        """Runs a task and returns its outcome; waits for a free worker in the order of calls."""
        if self._tasks >= MAX_TASKS:
            return "crowded"
        self._tasks += 1
        try:
            async with self._turns:
                return await self._run(task)
        finally:
            self._tasks -= 1

    async def _run(self, task: Task) -> Outcome:
        if self._closed:
            return "closed"
        if asyncio.get_running_loop().time() < self._refused_until:
            return "no_worker"
        try:
            worker = await self._free()
        except OSError:
            return self._not_started()
        keep = False
        self._busy.add(worker)
        try:
            outcome = await self._find(worker, task)
            keep = worker.alive and not worker.worn and outcome in get_args(Verdict)
        finally:
            self._busy.discard(worker)
            if keep and not self._closed:
                self._idle.append(worker)
            else:  # also after a cancellation: the worker still runs a task that is not wanted
                await worker.end()
        return outcome

    async def _free(self) -> Worker:
        while self._idle:
            if (worker := self._idle.pop()).alive:
                return worker
        self._started += 1
        return await Worker.spawn(self._cpu_s, self._memory_mb)

    async def _find(self, worker: Worker, task: Task) -> Outcome:
        try:
            await worker.ready()
        except (WorkerEnded, TimeoutError):
            return "closed" if self._closed else self._not_started()
        try:
            async with asyncio.timeout(self._cpu_s * WALL_FACTOR):
                return await worker.find(task)
        except TimeoutError:
            return "starved"
        except WorkerEnded:
            if self._closed:
                return "closed"
            return "answer_exhausts" if worker.reference_read else "reference_exhausts"

    def _not_started(self) -> Outcome:
        self._refused_until = asyncio.get_running_loop().time() + PAUSE_S
        return "no_worker"

    async def aclose(self) -> None:
        """Ends all workers; running and waiting tasks end with `closed`."""
        self._closed = True
        for worker in [*self._idle, *self._busy]:
            await worker.end()
        self._idle.clear()
        for _ in range(self._size):  # running tasks have ended after this
            await self._turns.acquire()
        for _ in range(self._size):
            self._turns.release()

    def statistics(self) -> Mapping[str, int]:
        """Counts of workers started, idle and busy, and of tasks running and waiting."""
        return {
            "started": self._started,
            "idle": len(self._idle),
            "busy": len(self._busy),
            "tasks": self._tasks,
        }

    def __repr__(self) -> str:
        return f"<Pool {len(self._busy)} busy of {self._size}, {self._tasks} tasks>"
