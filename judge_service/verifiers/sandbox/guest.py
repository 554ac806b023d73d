"""The program inside a sandboxed CPython (WASI, bare process): answers requests, one line of JSON each.

It is sent to the interpreter as text and must import nothing of ours. Both sides use `pack` and `unpack`.

Every line that it writes begins with the session's nonce; output of the code under test is dropped or goes to
a string of bounded length. A line that the code forges can only be a value that it could have returned.
"""

from __future__ import annotations

import builtins
import io
import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes longer to import than all else here
    from collections.abc import Callable
    from typing import Any

DEPTH = 60


class Unfit(Exception):
    """The value cannot leave the interpreter."""


def pack(value: Any, depth: int = DEPTH) -> Any:  # noqa: PLR0911  one line per type
    """A value as JSON; types that JSON lacks become objects with one key."""
    if value is None or isinstance(value, (bool, str)):
        return value if type(value) in (type(None), bool) else str.__str__(value)
    if depth < 0:
        raise Unfit
    if isinstance(value, int):
        value = int(value)
        return value if value.bit_length() < 10_000 else {"hex": hex(value)}
    if isinstance(value, float):
        return {"float": float.__repr__(value)}
    if isinstance(value, complex):
        return {"complex": [float.__repr__(value.real), float.__repr__(value.imag)]}
    if isinstance(value, (bytes, bytearray)):
        return {"bytes": bytes(value).hex()}
    if isinstance(value, dict):
        return {"dict": [[pack(k, depth - 1), pack(v, depth - 1)] for k, v in value.items()]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [pack(one, depth - 1) for one in value]}
    raise Unfit


def unpack(value: Any) -> Any:
    """The value of packed JSON; raises ValueError, TypeError, RecursionError for anything else."""
    if not isinstance(value, dict):
        if value is None or isinstance(value, (bool, str, int)):
            return value
        raise ValueError
    ((kind, held),) = value.items()
    if kind == "dict":
        return {unpack(k): unpack(v) for k, v in held}
    if kind == "complex":
        return complex(*map(float, held))
    if kind in SCALARS:
        return SCALARS[kind](held)
    return CONTAINERS[kind](map(unpack, held))


SCALARS: dict[str, Callable[[Any], Any]] = {
    "float": float,
    "bytes": bytes.fromhex,
    "hex": lambda text: int(text, 16),
}
CONTAINERS: dict[str, Callable[[Any], Any]] = {
    "list": list,
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
}


class Output(io.StringIO):
    """Collects printed text; more than `room` characters raise MemoryError."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room

    @property
    def buffer(self) -> Any:
        """The bytes of this output, for programs that write bytes."""
        return OutputBytes(self)

    def write(self, text: str) -> int:
        self.room -= len(text)
        if self.room < 0:
            raise MemoryError
        return super().write(text)


class OutputBytes(io.RawIOBase):
    """The bytes of an output, for programs that write to `sys.stdout.buffer`."""

    def __init__(self, text: Output) -> None:
        super().__init__()
        self.text = text

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.text.write(bytes(data).decode("utf-8", "replace"))
        return len(data)


PACKAGES = {
    *(
        "bs4",
        "cv2",
        "gmpy2",
        "keras",
        "matplotlib",
        "mpmath",
        "networkx",
        "nltk",
        "numba",
        "numpy",
        "pandas",
    ),
    *("pydantic", "pytest", "requests", "scipy", "seaborn", "sklearn", "sortedcontainers", "sympy"),
    *("tensorflow", "torch", "tqdm", "transformers", "yaml"),
}
"""Packages that a test or an answer may use elsewhere, and that no sandbox has."""


def lacks(problem: BaseException) -> bool:
    """Whether the sandbox lacks what the code needs, so that its failure says nothing of the code."""
    if isinstance(problem, NoThreads):
        return True
    name = getattr(problem, "name", None) or ""
    root = str(name).partition(".")[0]
    return isinstance(problem, ImportError) and (
        root in PACKAGES or root in sys.stdlib_module_names
    )


class NoThreads(NotImplementedError):
    """The interpreter cannot start threads."""


def start_no_thread(*_: Any, **__: Any) -> None:
    raise NoThreads


def equip() -> None:
    """Makes the idioms of programs work: `exit()`, `open(0)`, `os.read(0, n)`, long integers."""
    import os  # noqa: PLC0415  only here

    opened, read = builtins.open, os.read

    def open_(file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        if file in (0, "/dev/stdin"):
            return sys.stdin.buffer if "b" in mode else sys.stdin
        return opened(file, mode, *args, **kwargs)

    def read_(descriptor: int, size: int) -> bytes:
        return sys.stdin.buffer.read(size) if descriptor == 0 else read(descriptor, size)

    vars(os)["read"] = read_
    vars(builtins).update(open=open_, exit=sys.exit, quit=sys.exit)  # `site` is not loaded
    sys.set_int_max_str_digits(0)
    sys.argv = ["solution"]
    if sys.platform == "wasi":
        import _thread  # noqa: PLC0415  only here

        for name in ("start_new_thread", "start_joinable_thread"):
            if hasattr(_thread, name):
                setattr(_thread, name, start_no_thread)


def serve(nonce: str, output_bytes: int) -> None:
    """Answers requests until the input ends."""
    requests, replies = sys.stdin, sys.stdout

    def say(line: dict[str, Any]) -> None:
        replies.write(nonce + json.dumps(line) + "\n")
        replies.flush()

    def ask(expression: str, args: Any = None, kwargs: Any = None) -> Any:
        say({"ask": [expression, pack(args), pack(kwargs or {})]})
        reply = json.loads(requests.readline())
        if "error" in reply:
            raise getattr(builtins, reply["error"])
        return unpack(reply["value"])

    equip()
    room = {"__name__": "solution", "_ask_": ask}
    say({"ready": True})
    for line in iter(requests.readline, ""):
        request = json.loads(line)
        sys.stdout = sys.stderr = Output(output_bytes)
        sys.stdin = io.TextIOWrapper(
            io.BytesIO(request.get("stdin", "").encode(errors="replace")), "utf-8"
        )
        try:
            say({"value": pack(answer(request, room))})
        except Unfit:
            say({"unfit": True})
        except BaseException as problem:  # noqa: BLE001  the code's `SystemExit` is an error too
            kind = NotImplementedError if isinstance(problem, NoThreads) else type(problem)
            say({"error": kind.__name__, "lacking": lacks(problem)})


def answer(request: dict[str, Any], room: dict[str, Any]) -> Any:
    """Answers one request: statements to run, a program to run, or an expression."""
    if "load" in request:
        exec(compile(request["load"], "<code>", "exec"), room)  # noqa: S102  the purpose of the sandbox
        return None
    if "run" in request:
        printed = sys.stdout
        try:
            exec(compile(request["run"], "<code>", "exec"), {"__name__": "__main__"})  # noqa: S102  see above
        except SystemExit as leave:
            if leave.code not in (None, 0):
                raise
        return printed.getvalue()  # type: ignore[union-attr]  # `serve` put an Output there
    value = eval(request["ask"], room)  # noqa: S307  see above
    if request["args"] is None:
        return value
    return value(*unpack(request["args"]), **unpack(request["kwargs"]))


def limit(memory_bytes: int, cpu_s: float) -> None:
    """Sets the limits of a bare process; WASI has its own."""
    import resource  # noqa: PLC0415  WASI has none

    for what, most in (
        (resource.RLIMIT_AS, memory_bytes + 2**28),  # the interpreter's own
        (resource.RLIMIT_CPU, int(cpu_s) + 1),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
    ):
        resource.setrlimit(what, (most, most))


if __name__ == "__main__":
    if len(sys.argv) > 3:
        limit(int(sys.argv[3]), float(sys.argv[4]))
    serve(sys.argv[1], int(sys.argv[2]))
