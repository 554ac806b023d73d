"""`code`: runs Python against tests in a sandbox; the score is the share of tests that pass.

Sandboxes are tried in this order: Monty, CPython on WASI for what Monty lacks, and a bare process, only if
the operator allows it. Without a sandbox nothing runs. docs/sandbox.md has the reasons.
"""

import asyncio
import os
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from typing import Annotated, Any

from msgspec import Meta, Struct
from msgspec.structs import replace

from judge_service.errors import RubricError
from judge_service.values import Sample
from judge_service.verifiers import EXTRA, Check
from judge_service.verifiers.code.impossible import why_impossible
from judge_service.verifiers.code.runner import Outcome, run
from judge_service.verifiers.code.suite import Suite, read_suite
from judge_service.verifiers.code_fence import defines, defining_block
from judge_service.verifiers.sandbox.process import ProcessSandbox, bare_command
from judge_service.verifiers.sandbox.sandbox import Failure, Limits, Sandbox
from judge_service.verifiers.sandbox.wasi import Wasi, missing
from judge_service.verifiers.slots import FairSlots

SUBPROCESS_VARIABLE = "JUDGE_SANDBOX_SUBPROCESS"
"""The operator sets it to `1` to let rubrics use the bare process. A rubric cannot set it."""

FEW_TESTS = 5
FENCES = frozenset({"python", "python3", "py"})
CERTAINLY_LACKING = frozenset({"ImportError", "ModuleNotFoundError", "NotImplementedError"})

Seconds = Annotated[float, Meta(gt=0, le=600)]


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `code`."""

    tests_field: Annotated[
        str,
        Meta(
            description=(
                "field of the row with the tests: text with asserts, a list of such texts, or a list of"
                " `{call, expected}` or `{stdin, stdout}`; without the field, the reference is taken"
            )
        ),
    ] = "tests"
    setup_field: Annotated[
        str, Meta(description="field with statements to run before the tests, seen by the code too")
    ] = "test_setup"
    entry_point_field: Annotated[
        str, Meta(description="field with the name that `candidate` stands for in the tests")
    ] = "entry_point"
    call_timeout_s: Annotated[
        Seconds, Meta(description="wall seconds for loading the code, and for each call of it")
    ] = 2.0
    total_timeout_s: Annotated[
        Seconds, Meta(description="wall seconds for all of one answer's tests; not for waiting")
    ] = 10.0
    memory_mb: Annotated[int, Meta(ge=16, le=4096, description="heap of the code, megabytes")] = 128
    output_kb: Annotated[
        int, Meta(ge=1, le=10_240, description="what it may print, or a value may take, kilobytes")
    ] = 64
    source_kb: Annotated[
        int, Meta(ge=1, le=1024, description="longer code is not run and scores 0, kilobytes")
    ] = 64
    processes: Annotated[
        int, Meta(ge=1, le=64, description="answers run at once; others wait their turn")
    ] = 2
    allow_subprocess: Annotated[
        bool,
        Meta(
            description=(
                "run without isolation what no sandbox can; also needs JUDGE_SANDBOX_SUBPROCESS=1 in"
                " the environment of the service"
            )
        ),
    ] = False


def make(options: Options) -> "Code":
    """Makes the verifier; starts nothing. Raises RubricError if there is no usable sandbox."""
    sandboxes = _sandboxes(options, os.environ)
    if not sandboxes:
        raise RubricError(
            "the verifier `code` runs nothing without a sandbox, and pydantic-monty,"
            f" {' and '.join(missing())} are not installed: pip install 'judge-service[{EXTRA}]'"
        )
    return Code(options, sandboxes)


def _sandboxes(options: Options, environ: Mapping[str, str]) -> list[Sandbox]:
    sandboxes: list[Sandbox] = []
    if find_spec("pydantic_monty"):
        from judge_service.verifiers.sandbox.monty import MontySandbox  # noqa: PLC0415  optional

        sandboxes.append(MontySandbox(rooms=2 * options.processes))
    if not missing():
        wasi = Wasi(environ)
        sandboxes.append(ProcessSandbox("wasi", wasi.command, wasi.aclose))
    if options.allow_subprocess:
        if environ.get(SUBPROCESS_VARIABLE) != "1":
            raise RubricError(
                "`allow_subprocess` runs candidate code without isolation; the operator of the service"
                f" must allow it too, with {SUBPROCESS_VARIABLE}=1 in the environment"
            )
        sandboxes.append(ProcessSandbox("subprocess", bare_command))
    return sandboxes


class Code:
    """Runs answers, at most `options.processes` at once."""

    def __init__(self, options: Options, sandboxes: Sequence[Sandbox]) -> None:
        self._options = options
        self._sandboxes = sandboxes
        self._slots = FairSlots(options.processes)
        self._limits = Limits(
            call_s=min(options.call_timeout_s, options.total_timeout_s),
            total_s=options.total_timeout_s,
            memory_bytes=options.memory_mb * 2**20,
            output_bytes=options.output_kb * 1024,
        )

    def __repr__(self) -> str:
        return f"<Code in {', '.join(sandbox.name for sandbox in self._sandboxes)}>"

    async def __call__(self, sample: Sample, /) -> Check:
        """Scores the share of tests that pass; no score without tests or if the sandbox fails."""
        if sample.response is None:
            return Check(score=None, reason="no_response", detail="The row has no answer to run.")
        try:
            # long tests take long to read
            suite, impossible = await asyncio.to_thread(self._suite, sample)
        except ValueError as problem:
            detail = f"The row's tests cannot be used: {problem}."
            return Check(score=None, reason="no_reference", detail=detail)
        if impossible:
            detail = f"No answer can pass the row's tests: {impossible}."
            return Check(score=None, reason="cannot_judge", detail=detail)
        source = defining_block(sample.response, FENCES, suite.names)
        if why := self._why_not_run(source, suite):
            return Check(score=0.0, detail=why)
        outcome = await self._slots.run(
            partial(self._run, suite, source), lambda outcome: outcome.timed_out
        )
        return _told(outcome, suite)

    def _why_not_run(self, source: str, suite: Suite) -> str:
        """Why the code earns nothing without being run; empty if it is run."""
        if len(source) > self._options.source_kb * 1024:
            return f"The code is longer than {self._options.source_kb} kB."
        if not source.strip():
            return "The answer has no code."
        if suite.own_builtin and not defines(source, suite.own_builtin):
            return f"The code does not define `{suite.own_builtin}`, which the tests call."
        return ""

    async def aclose(self) -> None:
        """Ends every worker."""
        for sandbox in self._sandboxes:
            await sandbox.aclose()

    def _suite(self, sample: Sample) -> tuple[Suite, str]:
        """The row's tests, and why no answer can pass them."""
        suite = suite_of(sample, self._options)
        return suite, why_impossible(suite.steps, self._limits.output_bytes)

    async def _run(self, suite: Suite, source: str, share: float) -> Outcome:
        """Runs the tests; each side starts in the first sandbox, and moves on if it may lack something.

        share: of the call's limit of time, for all calls together if it is below 1.
        """
        code = tests = 0
        last = len(self._sandboxes) - 1
        limits = self._limits
        if share < 1:
            limits = replace(limits, total_s=share * limits.call_s)
        while True:
            pair = self._sandboxes[tests], self._sandboxes[code]
            outcome = await run(suite, source, *pair, limits)
            limits = replace(limits, total_s=max(0.0, limits.total_s - outcome.spent_s))
            if outcome.lacking == "tests" and tests < last:
                tests += 1
            elif code < last and _wants_cpython(outcome, suite, pair[1], source):
                code += 1
            else:
                return outcome


def suite_of(sample: Sample, options: Options) -> Suite:
    """The tests of a row. Raises ValueError if there are none, or they cannot be read."""
    row = sample.metadata
    tests: Any = row.get(options.tests_field, sample.reference)
    if not tests:
        raise ValueError("there are none")
    setup = row.get(options.setup_field) or ""
    entry_point = row.get(options.entry_point_field) or ""
    return read_suite(tests, str(setup), str(entry_point))


def _wants_cpython(outcome: Outcome, suite: Suite, sandbox: Sandbox, source: str) -> bool:
    if outcome.lacking == "code":
        return True
    failed_by_value = outcome.failure is not None and outcome.failure.kind == "error"
    return (
        failed_by_value
        and outcome.passed < suite.total
        and (sandbox.differs(source) or suite.has_long_numbers)
    )


def _told(outcome: Outcome, suite: Suite) -> Check:
    failure = outcome.failure
    if failure is not None and (unscored := _unscored(outcome, failure)):
        return unscored
    passed, total = outcome.passed, suite.total
    detail = f"{passed} of {total} tests passed"
    if failure is not None:
        detail += f"; the first that did not: {_why(failure)}"
    if total < FEW_TESTS:
        detail += f"; fewer than {FEW_TESTS} tests are thin evidence"
    return Check(score=passed / total, detail=f"{detail}.")


def _unscored(outcome: Outcome, failure: Failure) -> Check | None:
    """The check if the run says nothing about the answer: a sandbox broke, or all lack what is needed."""
    if failure.kind == "broken":
        return Check(score=None, reason="grader_error", detail="The sandbox could not be started.")
    if failure.error not in CERTAINLY_LACKING:
        return None
    if outcome.lacking == "tests":
        detail = f"The row's tests run in none of the sandboxes ({failure.error})."
        return Check(score=None, reason="cannot_judge", detail=detail)
    if outcome.lacking == "code":
        packages = " and ".join(missing()) or "another sandbox"
        detail = f"The code needs Python that the sandbox lacks; it would take {packages}."
        return Check(score=None, reason="cannot_judge", detail=detail)
    return None


WHY: Mapping[str, str] = {
    "time": "it took too long",
    "memory": "it used or printed too much, or its process ended",
    "output": "it printed or returned too much",
    "value": "it returned a value that is not plain data",
}


def _why(failure: Failure) -> str:
    if failure.error == "AssertionError":
        return "another value was expected"
    return WHY.get(failure.kind) or f"it raised {failure.error}"
