"""The supervisor of several workers on one listening socket: starts, replaces and stops them.

Workers end as on SIGTERM when the supervisor is gone, also after `kill -9`: they would hold the port and the
locks of the jobs, and the next service could not start.

The workers inherit one socket instead of having one each (`SO_REUSEPORT`), because a connection that waits to
be accepted would be lost with its worker.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

FAILED_TO_START = 3
"""Exit code of a worker that fails because of its settings or its judge: a new one would fail as well."""

ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)
"""Exit codes that are no failure. A worker ended by the signal itself had not yet begun to serve."""

RESTART_S = 1.0
"""Least time from the start of a worker to that of its replacement, seconds."""


class Supervisor:
    """Runs `workers` processes. work: the function of a worker, which returns its exit code."""

    def __init__(self, work: Callable[[], int], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._started_at: dict[int, float] = {}
        self._pid = os.getpid()
        self._is_stopping = False
        self._code = 0
        self._lifeline, self._held = os.pipe()  # `_held` closes with this process, however it ends

    def __repr__(self) -> str:
        return f"<Supervisor of {sorted(self._started_at)}>"

    def run(self) -> int:
        """Runs until a signal and the end of all workers. Returns 0 if all of them ended well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        for _ in range(self._workers):
            self._start()
        while self._started_at:
            pid, status = os.waitpid(-1, 0)  # as PID 1 this also reaps orphans of other processes
            started_at = self._started_at.pop(pid, None)
            if started_at is not None:
                self._replace(pid, os.waitstatus_to_exitcode(status), started_at)
        return self._code

    def _replace(self, pid: int, code: int, started_at: float) -> None:
        if self._is_stopping:
            self._code = self._code or int(code not in ENDED_WELL)
        elif code == FAILED_TO_START:
            self._code = code
            self._stop(signal.SIGTERM)
        else:
            sys.stderr.write(f"judge: worker {pid} ended with {code}; it is replaced\n")
            time.sleep(max(0.0, RESTART_S - (time.monotonic() - started_at)))
            self._start()

    def _start(self) -> None:
        if self._is_stopping:
            return
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if not pid:
            self._be_worker()
        self._started_at[pid] = time.monotonic()
        if self._is_stopping:
            # the signal came during the fork
            os.kill(pid, signal.SIGTERM)  # type: ignore[unreachable] # a handler sets the flag

    def _be_worker(self) -> NoReturn:
        """Runs a worker and exits. Never returns, so that it cannot unwind the supervisor's stack."""
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            os.close(self._held)
            threading.Thread(target=self._end_with_supervisor, daemon=True).start()
            code = self._work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _end_with_supervisor(self) -> None:
        os.read(self._lifeline, 1)  # nothing is written: it returns when the supervisor is gone
        os.kill(os.getpid(), signal.SIGTERM)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._stop(number)

    def _stop(self, number: int) -> None:
        self._is_stopping = True
        for pid in self._started_at:
            os.kill(pid, number)
