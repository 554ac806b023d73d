"""The worker process that compares mathematics: `python -m ...math.worker CPU_S MEMORY_MB`.

A comparison can take unbounded time and memory, so the kernel limits it: RLIMIT_AS bounds the memory, and a
timer whose signal ends the process bounds the CPU time of a task. The worker reads tasks from standard input
and answers each twice on standard output: once when the reference has been read, so that an early end can be
attributed to reference or answer, and once with the verdict.

Nothing is evaluated as Python: the library parses LaTeX with a grammar, and plain expressions only if a
pattern found digits and operators alone.
"""

import resource
import signal
import sys
from collections.abc import Callable
from typing import BinaryIO, Literal

import msgspec
from msgspec import Struct

from judge_service.verifiers.math.library import Mathematics

LENGTH_BYTES = 4

Verdict = Literal[
    "equal", "different", "no_answer", "no_reference", "answer_exhausts", "reference_exhausts"
]
"""The last two mean that the text needs more memory than there is; a task whose worker was killed ends with
the same outcome."""

EXHAUSTED = (MemoryError, RecursionError)


class Task(Struct, frozen=True, array_like=True):
    """A comparison. answer, reference: texts with mathematics. tolerance: relative, of numbers."""

    answer: str
    reference: str
    tolerance: float


class Found(Struct, frozen=True, array_like=True):
    """An answer to a task. verdict: `None` means that only the reference has been read so far.

    worn: whether this process has used half of the memory that its start left, and should be replaced.
    """

    verdict: Verdict | None
    worn: bool = False


def frame(message: Struct) -> bytes:
    """A message in the form of the pipe: its length, then its MessagePack."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _resident_bytes() -> int:
    """Memory in use now; the peak of `getrusage` would include that of the parent process."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  read for every task
        return int(statm.read().split()[1]) * resource.getpagesize()


def find(task: Task, mathematics: Mathematics, tell: Callable[[Verdict | None], None]) -> None:
    """Runs one task: reports when the reference has been read, then the verdict."""
    try:
        reference = mathematics.read(task.reference)
    except EXHAUSTED:
        tell("reference_exhausts")
        return
    if not reference:
        tell("no_reference")
        return
    tell(None)
    try:
        same = mathematics.equal(task.answer, task.reference, task.tolerance)
    except EXHAUSTED:
        tell("answer_exhausts")
    else:
        tell("no_answer" if same is None else "equal" if same else "different")


def serve(
    tasks: BinaryIO, answers: BinaryIO, mathematics: Mathematics, cpu_s: float, memory_bytes: int
) -> None:
    """Answers tasks until the input ends."""
    decoder = msgspec.msgpack.Decoder(Task)

    mathematics.warm_up()  # its CPU time is not limited
    resident = _resident_bytes()
    worn_bytes = resident + (memory_bytes - resident) // 2

    def tell(verdict: Verdict | None) -> None:
        answers.write(frame(Found(verdict, worn=_resident_bytes() > worn_bytes)))
        answers.flush()

    tell(None)  # ready
    while header := tasks.read(LENGTH_BYTES):
        task = decoder.decode(tasks.read(int.from_bytes(header, "big")))
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its signal, not handled, ends the process
        find(task, mathematics, tell)
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(cpu_s: float, memory_mb: int, library: type[Mathematics] = Mathematics) -> None:
    """Sets the limits and serves."""
    memory_bytes = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers, sys.stdout = (
        sys.stdout.buffer,
        sys.stderr,
    )  # output of a library must not reach the pipe
    serve(sys.stdin.buffer, answers, library(), cpu_s, memory_bytes)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
