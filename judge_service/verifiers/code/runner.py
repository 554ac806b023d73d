"""Runs a suite: the candidate's code in one sandboxed interpreter, the tests in another."""

import asyncio
import re
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from math import isclose
from typing import Any, Literal

from msgspec import Struct

from judge_service.verifiers.code.suite import Example, Program, Statement, Step, Suite
from judge_service.verifiers.sandbox.sandbox import Failure, Limits, Room, Sandbox

RELATIVE_TOLERANCE = 1e-9
"""Tolerance for numbers that are compared with an expected JSON value; asserts compare exactly."""

PRINTED_TOLERANCE = 1e-6
"""Tolerance for printed decimals, relative and absolute, as judges of programming contests have it."""

NUMERAL = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,3})?", re.ASCII)
DECIMAL = re.compile(
    r"[+-]?(?:\d{0,40}\.\d{1,40}(?:[eE][+-]?\d{1,3})?|\d{1,40}[eE][+-]?\d{1,3})", re.ASCII
)

ENDS_THE_ROOM = frozenset({"time", "memory", "output", "broken"})


class Outcome(Struct, frozen=True):
    """The result of one run.

    passed: number of tests. spent_s: wall seconds, without opening the rooms (interpreters).
    failure: that of the first test that did not pass. lacking: sides whose room may lack something.
    timed_out: whether a limit of time ended it.
    """

    passed: int
    spent_s: float
    failure: Failure | None = None
    lacking: Literal["tests", "code"] | None = None
    timed_out: bool = False


async def run(
    suite: Suite, source: str, tests_in: Sandbox, code_in: Sandbox, limits: Limits
) -> Outcome:
    """Runs all steps; raises only cancellation. After a limit was hit, the rest counts as failed."""
    running = Running(suite, source)
    clock = asyncio.get_running_loop().time
    opened_s = ended_s = 0.0
    try:
        async with AsyncExitStack() as rooms:
            tests = await rooms.enter_async_context(tests_in.room(limits))
            code = await rooms.enter_async_context(code_in.room(limits))
            opened_s = clock()
            try:
                async with asyncio.timeout(limits.total_s):
                    await running.all(tests, code)
            finally:
                ended_s = clock()
    except Failure as failure:
        running.note(failure)
    except TimeoutError:
        running.note(Failure("time"))
    return running.outcome(ended_s - opened_s)


class Running:
    """The state of a run."""

    def __init__(self, suite: Suite, source: str) -> None:
        self._suite = suite
        self._source = source
        self._passed = 0
        self._failure: Failure | None = None
        self._lacking: Literal["tests", "code"] | None = None
        self._timed_out = False

    def note(self, failure: Failure) -> None:
        """Keeps the first failure, or a later one if it says that the room itself broke."""
        self._timed_out |= failure.kind == "time"
        if self._failure is None or failure.kind == "broken":
            self._failure = failure

    def outcome(self, spent_s: float) -> Outcome:
        return Outcome(self._passed, spent_s, self._failure, self._lacking, self._timed_out)

    async def all(self, tests: Room, code: Room) -> None:
        if not all(isinstance(step, Program) for step in self._suite.steps):
            await self._prepare(tests, code)
        for step in self._suite.steps:
            try:
                await self._step(step, tests, code)
            except Failure as failure:
                self._failed(failure, "tests")
                if failure.kind in ENDS_THE_ROOM:
                    return
            else:
                self._passed += not isinstance(step, Statement) or step.is_test

    async def _prepare(self, tests: Room, code: Room) -> None:
        try:
            await code.load(self._source)
            for statement in self._suite.setup:
                await code.load(statement)
        except Failure as failure:
            self._failed(failure, "code")
            raise
        for statement in self._suite.setup:
            try:
                await tests.check(statement, self._refuse)
            except Failure as failure:
                # a set-up that builds the candidate's own objects can only run in its room
                if failure.error != "NameError":
                    raise

    async def _step(self, step: Step, tests: Room, code: Room) -> None:
        questions = Questions(code)
        try:
            match step:
                case Statement():
                    await tests.check(step.text, questions.ask)
                case Example():
                    _compare(same(await code.ask(step.call), step.expected))
                case Program():
                    printed = await code.run(self._source, step.stdin)
                    _compare(same_output(printed, step.stdout))
        except Failure as failure:
            for cause in questions.failures if isinstance(step, Statement) else [failure]:
                self._failed(cause, "code")
            raise
        for expected in questions.failures:
            self._suspect(expected, "code")
        if questions.unfit:
            raise Failure("value")

    def _failed(self, failure: Failure, side: Literal["tests", "code"]) -> None:
        self.note(failure)
        self._suspect(failure, side)

    def _suspect(self, failure: Failure, side: Literal["tests", "code"]) -> None:
        if failure.kind == "lacking" and self._lacking is None:
            self._lacking = side

    async def _refuse(self, *_: Any) -> Any:
        raise Failure("error", "NameError")


class Questions:
    """The calls that one statement of a test makes in the candidate's room."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self.failures: list[Failure] = []

    @property
    def unfit(self) -> bool:
        """A value could not leave the room. A test must not take this for an error that it expects."""
        return any(failure.kind == "value" for failure in self.failures)

    async def ask(
        self, expression: str, args: Sequence[Any] | None, kwargs: Mapping[str, Any]
    ) -> Any:
        """Makes one call. Raises Failure: `error`, so that the statement goes on, or what ended the room."""
        try:
            return await self._room.ask(expression, args, kwargs)
        except Failure as failure:
            self.failures.append(failure)
            if failure.kind in ENDS_THE_ROOM:
                raise
            raise Failure("error", failure.error or "TypeError") from None


def _compare(equal: bool) -> None:  # noqa: FBT001  the outcome of a comparison
    if not equal:
        raise Failure("error", "AssertionError")


def _lines(text: str) -> list[str]:
    """A program's output for comparison: without trailing white space and empty lines at the end."""
    return [line.rstrip() for line in text.rstrip().splitlines()]


def same_output(printed: str, expected: str) -> bool:
    """Whether a program printed what is expected; decimals agree within `PRINTED_TOLERANCE`."""
    said, wanted = _lines(printed), _lines(expected)
    return len(said) == len(wanted) and all(map(_same_line, said, wanted))


def _same_line(said: str, wanted: str) -> bool:
    if said == wanted:
        return True
    ours, theirs = said.split(), wanted.split()
    return len(ours) == len(theirs) and all(map(_same_word, ours, theirs))


def _same_word(said: str, wanted: str) -> bool:
    if said == wanted:
        return True
    if not (DECIMAL.fullmatch(wanted) and NUMERAL.fullmatch(said)):
        return False
    return isclose(float(said), float(wanted), rel_tol=PRINTED_TOLERANCE, abs_tol=PRINTED_TOLERANCE)


def same(value: Any, expected: Any) -> bool:
    """Whether a value equals JSON's: tuples are lists, keys are text, numbers agree within the tolerance."""
    if isinstance(value, bool) or isinstance(expected, bool):
        return value is expected
    if isinstance(value, int | float) and isinstance(expected, int | float):
        return _same_number(value, expected)
    if isinstance(value, list | tuple) and isinstance(expected, list):
        return len(value) == len(expected) and all(map(same, value, expected))
    if isinstance(value, dict) and isinstance(expected, Mapping):
        named = {str(key): one for key, one in value.items()}
        return named.keys() == expected.keys() and all(
            same(named[key], expected[key]) for key in named
        )
    return type(value) is type(expected) and bool(value == expected)


def _same_number(value: float, expected: float) -> bool:
    if isinstance(value, int) and isinstance(expected, int):
        return value == expected
    try:
        near_zero = RELATIVE_TOLERANCE if expected == 0 else 0.0
        return isclose(value, expected, rel_tol=RELATIVE_TOLERANCE, abs_tol=near_zero)
    except OverflowError:
        return False
