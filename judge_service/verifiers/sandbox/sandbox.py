"""The interface of sandboxes for untrusted code. A room is one isolated interpreter.

A test needs two rooms. One loads the candidate's code and answers calls; the other runs the tests and holds
the expected values. The text of a call goes one way and a plain value comes back, so the code under test
cannot find an expected value on a stack, in a frame or in a file, and its own `__eq__`, exit or print gains
nothing. docs/sandbox.md says what each kind isolates.
"""

import builtins
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from msgspec import Struct

from judge_service.verifiers.sandbox.guest import unpack

FailureKind = Literal["error", "time", "memory", "output", "value", "lacking", "broken"]

MAX_DEPTH = 50
MAX_ITEMS = 100_000
"""Bounds of a value that leaves a room: depth and number of parts."""


class Limits(Struct, frozen=True, kw_only=True):
    """The limits of a room.

    call_s: wall seconds of one call. total_s: wall seconds of all calls of one sample's code.
    memory_bytes: of the code's heap. output_bytes: of printed text, and of a value that leaves.
    """

    call_s: float
    total_s: float
    memory_bytes: int
    output_bytes: int


class Failure(Exception):
    """A request to a room has no value. It concerns the code, and is not an error of ours.

    kind: `error`: the code raised; `time`, `memory`, `output`: a limit ended the code and the room; `value`:
        the value is not plain data; `lacking`: the room may lack what the code needs; `broken`: the room
        failed.
    error: name of the built-in exception that was raised, "" otherwise. Never text of the code.
    """

    def __init__(self, kind: FailureKind, error: str = "") -> None:
        super().__init__(f"{kind} {error}".strip())
        self.kind = kind
        self.error = error


Ask = Callable[[str, Sequence[Any] | None, Mapping[str, Any]], Awaitable[Any]]
"""A call into the other room: an expression and its arguments, or none. Raises Failure."""

ASK = "_ask_"
"""The function that calls the other room in a test: `_ask_("f(3)")`, `_ask_("f", [x], {"key": y})`."""


class Room(Protocol):
    """One isolated interpreter for one sample. All methods raise Failure."""

    async def load(self, source: str) -> None:
        """Runs statements; their definitions stay."""
        ...

    async def ask(
        self, expression: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] = {}
    ) -> Any:
        """The plain value of an expression, or of calling it with `args` if they are given."""
        ...

    async def run(self, source: str, stdin: str) -> str:
        """Runs a whole program and returns its output."""
        ...

    async def check(self, statement: str, ask: Ask) -> None:
        """Runs a statement of a test; `_ask_` in it calls the other room."""
        ...


class Sandbox(Protocol):
    """A kind of sandbox, which opens rooms."""

    name: str

    def room(self, limits: Limits) -> AbstractAsyncContextManager[Room]:
        """Opens a new room; raises Failure (`broken`) if that is impossible."""
        ...

    def differs(self, source: str) -> bool:
        """Whether code with this text may give another value here than in CPython."""
        ...

    async def aclose(self) -> None:
        """Ends every process that it started; can be called twice."""
        ...


def known_error(name: str) -> str:
    """The exception's name if it is a built-in one, else `Exception`."""
    kind = getattr(builtins, name, None)
    is_error = isinstance(kind, type) and issubclass(kind, BaseException)
    return name if is_error else "Exception"


def as_error(name: str) -> Exception:
    """The exception to raise in the tests' room for one that the candidate's code raised."""
    kind = getattr(builtins, name, Exception)
    return kind() if issubclass(kind, Exception) and kind not in _NEED_ARGUMENTS else Exception()


_NEED_ARGUMENTS = (
    UnicodeDecodeError,
    UnicodeEncodeError,
    UnicodeTranslateError,
    ExceptionGroup,
)


def plain(value: Any, max_bytes: int) -> Any:
    """Checks that a value is made of plain built-in types and within bounds; raises Failure if not."""
    left = MAX_ITEMS
    room = max_bytes
    waiting = [(value, 0)]
    while waiting:
        one, depth = waiting.pop()
        left -= 1
        if isinstance(one, str | bytes):
            room -= len(one)
        elif isinstance(one, int) and not isinstance(one, bool):
            room -= one.bit_length() // 8
        if left < 0 or depth > MAX_DEPTH or room < 0:
            raise Failure("output")
        waiting.extend((part, depth + 1) for part in _parts(one))
    return value


def decoded(line: str | bytes) -> dict[str, Any]:
    """Decodes a reply of a room; raises Failure if it is not one."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        raise Failure("value") from None
    if not isinstance(reply, dict):
        raise Failure("value")
    return reply


def value_of(reply: Mapping[str, Any], max_bytes: int) -> Any:
    """The value in a reply; raises Failure for an error or a value that is not plain and within bounds."""
    if "error" in reply:
        kind: FailureKind = "lacking" if reply.get("lacking") is True else "error"
        raise Failure(kind, known_error(str(reply["error"])))
    if "value" not in reply:
        raise Failure("value")
    try:
        value = unpack(reply["value"])
    except (ValueError, TypeError, KeyError, RecursionError):
        raise Failure("value") from None
    return plain(value, max_bytes)


def _parts(value: Any) -> Sequence[Any]:
    kind = type(value)
    if value is None or kind in (bool, int, float, complex, str, bytes):
        return ()
    if kind in (list, tuple, set, frozenset) or (isinstance(value, tuple)):
        return list(value)
    if kind is dict:
        return [*value.keys(), *value.values()]
    raise Failure("value")
