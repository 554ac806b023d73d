"""The process in which mathematics is compared: `python -m ...math.worker CPU_S MEMORY_MB`.

Comparing what a model wrote can take for ever and all memory, so it happens here, where the kernel
stops it: the memory by RLIMIT_AS, the CPU time of one task by a timer whose signal ends the process.
It reads tasks from its standard input and answers each twice on its standard output: once when the
reference has been read, so that whose fault an early end is can be told, and once with the verdict.

Nothing is evaluated as Python: the library reads LaTeX with a grammar, and plain expressions only
where a pattern found nothing but digits and operators.
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
"""The last two: what was being read needs more memory than there is; that is how a task also ends
whose worker was ended for it."""

EXHAUSTED = (MemoryError, RecursionError)


class Task(Struct, frozen=True, array_like=True):
    """answer, reference: texts with the mathematics in them. tolerance: relative, of numbers."""

    answer: str
    reference: str
    tolerance: float


class Found(Struct, frozen=True, array_like=True):
    """verdict: `None` means that only the reference has been read so far.

    worn: this process has used so much memory that it should be replaced.
    """

    verdict: Verdict | None
    worn: bool = False


def frame(message: Struct) -> bytes:
    """A message as it goes through a pipe: its length, then its MessagePack."""
    body = msgspec.msgpack.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def _resident_bytes() -> int:
    """Memory in use now; the peak that `getrusage` tells is inherited from whoever started us."""
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  read for every task
        return int(statm.read().split()[1]) * resource.getpagesize()


def find(task: Task, mathematics: Mathematics, tell: Callable[[Verdict | None], None]) -> None:
    """One task: says when the reference has been read, then the verdict."""
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
    """Answers until there are no more tasks."""
    decoder = msgspec.msgpack.Decoder(Task)

    def tell(verdict: Verdict | None) -> None:
        answers.write(frame(Found(verdict, worn=_resident_bytes() > memory_bytes // 2)))
        answers.flush()

    tell(None)  # ready
    while header := tasks.read(LENGTH_BYTES):
        task = decoder.decode(tasks.read(int.from_bytes(header, "big")))
        signal.setitimer(signal.ITIMER_PROF, cpu_s)  # its signal, not handled, ends the process
        find(task, mathematics, tell)
        signal.setitimer(signal.ITIMER_PROF, 0)


def main(cpu_s: float, memory_mb: int, library: type[Mathematics] = Mathematics) -> None:
    """Puts the limits in force and serves."""
    memory_bytes = memory_mb << 20
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers, sys.stdout = sys.stdout.buffer, sys.stderr  # a library that prints must not be heard
    serve(sys.stdin.buffer, answers, library(), cpu_s, memory_bytes)


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]))
