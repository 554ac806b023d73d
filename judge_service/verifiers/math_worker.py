"""The process in which mathematics is compared: `python -m ...math_worker CPU_S MEMORY_MB`.

Comparing what a model wrote can take for ever and all memory, so it happens here, where the kernel
stops it: the memory by RLIMIT_AS, the CPU time of one task by a timer whose signal ends the process.
It reads tasks from its standard input and answers each twice on its standard output: once when the
reference has been read, so that whose fault an early end is can be told, and once with the verdict.

Nothing is evaluated as Python: the library reads LaTeX with a grammar, and plain expressions only
where a pattern found nothing but digits and operators.
"""

import contextlib
import resource
import signal
import sys
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from math import nan
from typing import Any, BinaryIO, Literal
from zlib import crc32

import msgspec
from msgspec import Struct

LENGTH_BYTES = 4

Verdict = Literal[
    "equal", "different", "no_answer", "no_reference", "answer_exhausts", "reference_exhausts"
]
"""The last two: what was being read needs more memory than there is; that is how a task also ends
whose worker was ended for it."""

APART = 1e-3
"""Values that differ by more than this, relatively, need no algebra to be told apart: a tenth of its time."""

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


class Mathematics:
    """The library, imported when the limits are in force. Raises ImportError when it is missing."""

    def __init__(self) -> None:
        self._library: Any = import_module("math_verify")
        self._latex: Any = import_module("latex2sympy2_extended")
        self._expression: Any = import_module("sympy").Expr

    @lru_cache(maxsize=1024)  # noqa: B019  one object, which lives as long as its process
    def read(self, text: str) -> Any:
        """What a text means: a list, empty when there is no mathematics in it.

        The rollouts of a group share their reference and often their answers.
        """
        return self._library.parse(text, parsing_timeout=None)

    def verdict(self, task: Task, reference: Any) -> Verdict:
        """Whether the answer is the reference."""
        answer = self.read(task.answer)
        if not answer:
            return "no_answer"
        told = self._by_value(task, answer[0], reference[0])
        if told is not None:
            return told
        same = self._library.verify(reference, answer, timeout_seconds=None)
        return "equal" if same else "different"

    def _by_value(self, task: Task, answer: Any, reference: Any) -> Verdict | None:
        """The verdict where values tell it: numbers within the tolerance, anything far apart."""
        if "%" in task.answer + task.reference:  # which can mean two numbers
            return None
        said, gold = self._value(answer), self._value(reference)
        apart = abs(said - gold)  # compares as false with everything where one has no value
        if 0 < task.tolerance >= apart / (abs(gold) or 1.0) and not reference.free_symbols:
            return "equal"
        return "different" if apart > APART * max(1.0, abs(gold)) else None

    def _value(self, read: Any) -> complex:
        """The value of an expression where each unknown has one of its own; not a number without one."""
        if isinstance(read, self._expression) and not self._latex.is_expr_of_only_symbols(read):
            unknowns = {unknown: _point(unknown.name) for unknown in read.free_symbols}
            with contextlib.suppress(TypeError, ValueError, AttributeError, ArithmeticError):
                return complex(read.evalf(subs=unknowns))
        return complex(nan)


def _point(name: str) -> float:
    """A number between 0.5 and 1.5 by which the unknown of that name is tried."""
    return 0.5 + crc32(name.encode()) / 2**32


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
        verdict = mathematics.verdict(task, reference)
    except EXHAUSTED:
        verdict = "answer_exhausts"
    tell(verdict)


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
