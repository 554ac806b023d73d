"""Rooms in which code that nobody trusts is run: what every kind of room promises.

A test needs two rooms. In one the candidate's code is loaded and asked; in the other the tests run, and
only there are the expected values. What passes between them is text (a call) one way and a plain value
the other way, so the code under test finds no expected value on any stack, in no frame and in no file,
and an `__eq__`, an exit or a print of its own earns nothing. docs/sandbox.md says what each kind keeps out.
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
"""Bounds of a value that leaves a room: nested so deep, made of so many parts."""


class Limits(Struct, frozen=True, kw_only=True):
    """What a room may use.

    call_s: wall seconds of one call. total_s: of everything asked of one sample's code.
    memory_bytes: of the code's heap. output_bytes: of what it prints, and of a value that leaves.
    """

    call_s: float
    total_s: float
    memory_bytes: int
    output_bytes: int


class Failure(Exception):
    """What was asked of a room has no value: news about somebody's code, no error of ours.

    kind: `error` the code raised; `time`, `memory`, `output` a limit ended it, and the room with it;
        `value` it is no plain value; `lacking` the room may lack what the code needs; `broken` the
        room itself failed.
    error: name of the built-in exception that was raised, "" otherwise. Never text of the code's.
    """

    def __init__(self, kind: FailureKind, error: str = "") -> None:
        super().__init__(f"{kind} {error}".strip())
        self.kind = kind
        self.error = error


Ask = Callable[[str, Sequence[Any] | None, Mapping[str, Any]], Awaitable[Any]]
"""The other room: an expression, and the arguments it is called with or none. Raises Failure."""

ASK = "_ask_"
"""What the other room is called in a test: `_ask_("f(3)")`, `_ask_("f", [x], {"key": y})`."""


class Room(Protocol):
    """One interpreter, for one sample. All of it raises Failure."""

    async def load(self, source: str) -> None:
        """Runs statements; what they define stays."""
        ...

    async def ask(
        self, expression: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] = {}
    ) -> Any:
        """The plain value of an expression, or of calling it with `args` if they are given."""
        ...

    async def run(self, source: str, stdin: str) -> str:
        """What a whole program prints."""
        ...

    async def check(self, statement: str, ask: Ask) -> None:
        """Runs a statement of a test; `_ask_` in it asks the other room."""
        ...


class Sandbox(Protocol):
    """A kind of room."""

    name: str

    def room(self, limits: Limits) -> AbstractAsyncContextManager[Room]:
        """A fresh room; raises Failure (`broken`) if there can be none."""
        ...

    def differs(self, source: str) -> bool:
        """Whether code with this text may come to another value here than in CPython."""
        ...

    async def aclose(self) -> None:
        """Ends every process it started; can be called twice."""
        ...


def known_error(name: str) -> str:
    """A name that may be shown: that of a built-in exception, else `Exception`."""
    kind = getattr(builtins, name, None)
    is_error = isinstance(kind, type) and issubclass(kind, BaseException)
    return name if is_error else "Exception"


def as_error(name: str) -> Exception:
    """An exception to raise in the tests' room for one that the candidate's code raised."""
    kind = getattr(builtins, name, Exception)
    return kind() if issubclass(kind, Exception) and kind not in _NEED_ARGUMENTS else Exception()


_NEED_ARGUMENTS = (
    UnicodeDecodeError,
    UnicodeEncodeError,
    UnicodeTranslateError,
    ExceptionGroup,
)


def plain(value: Any, max_bytes: int) -> Any:
    """The value, if it is made of plain built-in types and within bounds; raises Failure otherwise."""
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
    """A reply of a room; raises Failure for what is none."""
    try:
        reply = json.loads(line)
    except (ValueError, RecursionError):
        raise Failure("value") from None
    if not isinstance(reply, dict):
        raise Failure("value")
    return reply


def value_of(reply: Mapping[str, Any], max_bytes: int) -> Any:
    """The value in a reply; raises Failure if it holds an error, or no plain value within bounds."""
    if "error" in reply:
        raise Failure("error", known_error(str(reply["error"])))
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
