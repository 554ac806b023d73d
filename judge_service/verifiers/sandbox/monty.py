"""The Monty sandbox: its own Python interpreter in worker processes, without files, sockets or system calls.

A session takes half a millisecond. Code that needs Python which Monty lacks (`yield`, `heapq`, most of the
library) fails with the kind `lacking`.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pydantic_monty as monty

from judge_service.verifiers.sandbox.sandbox import (
    ASK,
    Ask,
    Failure,
    FailureKind,
    Limits,
    Room,
    as_error,
    decoded,
    known_error,
    value_of,
)

LACKING = frozenset(
    {
        "AttributeError",
        "ImportError",
        "ModuleNotFoundError",
        "NameError",
        "NotImplementedError",
        "SyntaxError",
        "TypeError",
    }
)
"""Errors that Monty raises where CPython may not. CPython then decides whether the code meant them."""

DIFFERENT = re.compile(r"\b(set|frozenset|re)\b")

LIMITED: Mapping[str, FailureKind] = {"TimeoutError": "time", "MemoryError": "memory"}
MAX_RECURSION = 400
MAX_CALLS = 10_000
"""Limits: depth of frames, and calls of one test into the other interpreter."""

SESSIONS_PER_WORKER = 1000


class MontySandbox:
    """A pool of Monty workers, started on first use.

    rooms: most interpreters at once; further ones wait.
    """

    name = "monty"

    def __init__(self, rooms: int) -> None:
        self._rooms = rooms
        self._opening = asyncio.Semaphore(1)
        self._pool: monty.AsyncMonty | None = None

    def __repr__(self) -> str:
        return f"<MontySandbox of {self._rooms} rooms, {'open' if self._pool else 'closed'}>"

    @asynccontextmanager
    async def room(self, limits: Limits) -> AsyncIterator[Room]:
        """Opens a new session; an error or a cancellation in the block ends its worker."""
        pool = await self._open()
        allowed: monty.ResourceLimits = {
            "max_feed_duration_secs": limits.call_s,
            "max_memory": limits.memory_bytes,
            "max_recursion_depth": MAX_RECURSION,
            "max_suspensions": MAX_CALLS,
        }
        session = pool.checkout(
            limits=allowed, os_policy={"sleep": "zero"}, assert_message_annotations=False
        )
        try:
            entered = await session.__aenter__()
        except (monty.MontyError, RuntimeError):  # its worker could not be started
            raise Failure("broken") from None
        try:
            room = MontyRoom(entered, limits.output_bytes)
            await room.start()
            yield room
        finally:
            await session.__aexit__(None, None, None)

    async def _open(self) -> monty.AsyncMonty:
        async with self._opening:
            if self._pool is None:
                try:
                    pool = await asyncio.to_thread(self._make)  # looks for the program on the disk
                    self._pool = await pool.__aenter__()
                except OSError:
                    raise Failure("broken") from None
            return self._pool

    def differs(self, source: str) -> bool:
        """Whether the code uses sets, whose order differs, or replacements of regular expressions."""
        return DIFFERENT.search(source) is not None

    def _make(self) -> monty.AsyncMonty:
        return monty.AsyncMonty(
            min_processes=0,
            max_processes=self._rooms,
            max_checkouts_per_worker=SESSIONS_PER_WORKER,
        )

    async def aclose(self) -> None:
        """Ends the workers."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.__aexit__(None, None, None)


SHELL = """
import json as _json_

def _pack_(value):
    kind = type(value)
    if value is None or kind in (bool, str):
        return value
    if kind is int:
        return value if -(1 << 10_000) < value < 1 << 10_000 else {"hex": hex(value)}
    if kind is float:
        return {"float": repr(value)}
    if kind is complex:
        return {"complex": [repr(value.real), repr(value.imag)]}
    if kind is bytes:
        return {"bytes": value.hex()}
    if isinstance(value, dict):
        return {"dict": [[_pack_(k), _pack_(v)] for k, v in value.items()]}
    for kind in (list, tuple, set, frozenset):
        if isinstance(value, kind):
            return {kind.__name__: [_pack_(one) for one in value]}
    raise TypeError
"""
"""The first statements of every session.

Monty converts values and messages that it returns on the event loop, whatever their size: a list of a million
numbers blocks the service for a second. So the session packs its values as `guest.py` does and prints them,
which is bounded. Code that redefines these functions can only forge a value that it could have returned.
"""

CALL = """
try:
    _value_ = {expression}
except BaseException as _problem_:
    _reply_ = {{"error": type(_problem_).__name__}}
else:
    try:
        _reply_ = {{"value": _pack_(_value_)}}
    except Exception:
        _reply_ = {{"unfit": True}}
print("\\n" + _json_.dumps(_reply_))
None
"""

PROGRAM = """
def input(prompt=""):
    if prompt != "":
        raise NotImplementedError  # it would have to be printed in its place; CPython does
    if not _lines_:
        raise EOFError
    return _lines_.pop(0)

def _run_():
    try:
        exec(_source_, {"__name__": "__main__", "input": input})
    except SystemExit as leave:
        if leave.args and leave.args[0] not in (None, 0):
            raise
"""


class MontyRoom:
    """A Monty session."""

    def __init__(self, session: monty.AsyncMontySession, output_bytes: int) -> None:
        self._session = session
        self._output_bytes = output_bytes

    async def start(self) -> None:
        await self._feed(SHELL)

    async def load(self, source: str) -> None:
        await self._call("exec(_source_)", _source_=source, __name__="solution")

    async def ask(
        self, expression: str, args: Sequence[Any] | None = None, kwargs: Mapping[str, Any] = {}
    ) -> Any:
        if args is None:
            reply, _ = await self._call(f"({expression})")
        else:
            called = f"({expression})(*_args_, **_kwargs_)"
            reply, _ = await self._call(called, _args_=list(args), _kwargs_=dict(kwargs))
        return reply

    async def run(self, source: str, stdin: str) -> str:
        await self._feed(PROGRAM, _lines_=stdin.splitlines(), _source_=source)
        _, printed = await self._call("_run_()")
        return printed

    async def check(self, statement: str, ask: Ask) -> None:
        asking = Asking(ask)
        try:
            snapshot = await self._session.feed_start(statement, print_callback=self._silence())
            while not isinstance(snapshot, monty.MontyComplete):
                snapshot = await asking.resume(snapshot)
        except (monty.MontyError, RuntimeError) as problem:
            failure = _failure(problem)
            if failure.kind == "lacking" and asking.in_vain:
                failure = Failure("error", failure.error)
            raise failure from None

    async def _call(self, expression: str, **inputs: Any) -> tuple[Any, str]:
        """The value of an expression and the text printed meanwhile."""
        text = await self._feed(CALL.format(expression=expression), **inputs)
        printed, _, line = text.removesuffix("\n").rpartition("\n")
        reply = decoded(line)
        if reply.get("error") in LACKING:
            raise Failure("lacking", reply["error"])
        return value_of(reply, self._output_bytes), printed

    async def _feed(self, code: str, **inputs: Any) -> str:
        """The text that a statement prints."""
        printed = self._silence()
        try:
            await self._session.feed_run(code, inputs=inputs, print_callback=printed)
        except (monty.MontyError, RuntimeError) as problem:
            raise _failure(problem) from None
        return printed.output

    def _silence(self) -> monty.CollectString:
        return monty.CollectString(max_bytes=self._output_bytes)


class Asking:
    """Answers a test's calls. in_vain: whether the other interpreter once answered with an error."""

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self.in_vain = False

    async def resume(self, snapshot: Any) -> Any:
        """Continues the test to its next call."""
        if isinstance(snapshot, monty.AsyncNameLookupSnapshot):
            return await snapshot.resume()  # there is no such name
        if not isinstance(snapshot, monty.AsyncFunctionSnapshot):
            raise Failure("lacking", "NotImplementedError")
        if snapshot.is_os_function:
            return await snapshot.resume_not_handled()  # there is no system
        if snapshot.function_name != ASK:
            return await snapshot.resume({"exception": NameError()})
        expression, args, kwargs = (*snapshot.args, None, None)[:3]
        try:
            value = await self._ask(expression, args, kwargs or {})
        except Failure as failure:
            if failure.kind != "error":
                raise
            self.in_vain = True
            return await snapshot.resume({"exception": as_error(failure.error)})
        return await snapshot.resume({"return_value": value})


def _failure(problem: Exception) -> Failure:
    if isinstance(problem, monty.MontyCrashedError):
        return Failure("time" if problem.timed_out else "memory")
    if not isinstance(problem, monty.MontyError):  # the pool's own: it lost the session
        return Failure("broken")
    name = known_error(type(problem.exception()).__name__)
    if name in LIMITED:
        return Failure(LIMITED[name], name)
    return Failure("lacking" if name in LACKING else "error", name)
