"""Several workers on one listening socket: started, replaced when one dies, stopped together.

The socket is inherited and not one each (`SO_REUSEPORT`), so that a connection which waits to be
accepted is not lost with the worker it was dealt to.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

FAILED_TO_START = 3
"""Exit code of a worker whose settings or judge cannot work: the next one would fail as well."""

ENDED_WELL = (0, -signal.SIGTERM, -signal.SIGINT)
"""A worker that the signal itself ended had not begun to serve: it could not have obeyed yet."""

RESTART_S = 1.0
"""A worker that lived for less is not replaced before."""


class Supervisor:
    """work: what a worker does, in a process of its own; gives its exit code. workers: how many."""

    def __init__(self, work: Callable[[], int], workers: int) -> None:
        self._work = work
        self._workers = workers
        self._started_at: dict[int, float] = {}
        self._pid = os.getpid()
        self._is_stopping = False
        self._code = 0

    def __repr__(self) -> str:
        return f"<Supervisor of {sorted(self._started_at)}>"

    def run(self) -> int:
        """Until a signal came and all have ended; 0 if all of them ended well."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._pass_on)
        for _ in range(self._workers):
            self._start()
        while self._started_at:
            pid, status = os.waitpid(-1, 0)  # as PID 1 this reaps everybody's orphans as well
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
            # the signal came while it was being born
            os.kill(pid, signal.SIGTERM)  # type: ignore[unreachable] # a handler sets the flag

    def _be_worker(self) -> NoReturn:
        """Never returns: what the supervisor has on its stack is not for a worker to clean up."""
        code = 1
        try:
            for number in (signal.SIGTERM, signal.SIGINT):
                signal.signal(number, signal.SIG_DFL)
            code = self._work()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _pass_on(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._pid:
            self._stop(number)

    def _stop(self, number: int) -> None:
        self._is_stopping = True
        for pid in self._started_at:
            os.kill(pid, number)
