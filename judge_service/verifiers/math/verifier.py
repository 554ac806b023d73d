"""`math`: checks mathematical equivalence with the reference, in any notation.

Both sides must be parsed completely. A reference that cannot be parsed has `cannot_judge`; an answer that
cannot be parsed scores 0. Texts that need no algebra are compared here. Others go to worker processes
(`pool`), which limit the cost of hostile expressions. An answer that exceeds the limit of CPU time or memory
scores 0 if the reference alone could be parsed, because an equal answer needs no tower of powers. A short and
plain answer has no score in this case (`cannot_judge`), because the reference or the machine is the cause.
"""

import os
import re
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated, Literal

from msgspec import Meta, Struct

from judge_service.values import Sample
from judge_service.verifiers import Check
from judge_service.verifiers.extract import (
    MAX_ANSWER_CHARS,
    MaxValues,
    Strategies,
    boxed,
    extract,
)
from judge_service.verifiers.math.plain import compare
from judge_service.verifiers.math.pool import Outcome, Pool
from judge_service.verifiers.math.stated import stated
from judge_service.verifiers.math.worker import Task

if find_spec("math_verify") is None:  # imported by the workers only
    raise ModuleNotFoundError("No module named 'math_verify'", name="math_verify")

MARKED: Strategies = ("boxed", "hashes", "answer_tag")

PLAIN = re.compile(r"(?:\\frac|[0-9A-Za-z+/=(),.{}\s-]|\*(?!\*)){0,32}")
"""An answer that costs a few hundredths of a second by itself: no power, root, function or long product."""

TAIL_CHARS = 4_000
"""Characters of a response's end in which an unmarked answer is looked for."""

DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
"""A reference that may be a list of two or a number with a decimal comma."""

MAX_BOXES = 20
"""Most boxes that are compared as the parts of one answer."""

MAX_REFERENCE_CHARS = 20_000
"""A reference may be a whole solution."""

UNVERIFIED: Mapping[str, str] = {
    "no_reference": "cannot_judge",
    "ambiguous": "cannot_judge",
    "reference_exhausts": "cannot_judge",
    "comparison_exhausts": "cannot_judge",
    "no_worker": "unavailable",
    "crowded": "unavailable",
    "starved": "deadline",
    "closed": "interrupted",
}
"""Outcomes that do not concern the answer, with the reason of each."""

DETAILS: Mapping[str, str] = {
    "equal": "the answer equals the reference",
    "different": "the answer does not equal the reference",
    "guesses": "more different answers are marked than the rubric allows",
    "no_answer": "the answer is not mathematics that can be read to its last character",
    "answer_exhausts": "the answer is too large to be compared within the limits of time and memory",
    "no_reference": "the reference is not mathematics that can be read to its last character",
    "ambiguous": "the reference is two numbers or one with a decimal comma, and the answer is the latter",
    "reference_exhausts": "the reference is too large to be read within the limits of time and memory",
    "comparison_exhausts": "the answer is plain, but comparing it with the reference exceeds the limits:"
    " raise `timeout_s` or `memory_mb`",
    "no_worker": "no process for mathematics could be started",
    "crowded": "too many answers wait for a process for mathematics",
    "starved": "this machine is too busy to compare the answer in time",
    "closed": "the verifier was closed before the answer was compared",
}


Ended = Outcome | Literal["guesses", "comparison_exhausts", "ambiguous"]


class Options(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Options of the verifier `math`."""

    tolerance: Annotated[
        float, Meta(ge=0, lt=1, description="Largest difference of two numbers, relative.")
    ] = 0.0
    format_score: Annotated[
        float, Meta(ge=0, lt=1, description="Score of a wrong answer that is mathematics.")
    ] = 0.0
    strategies: Annotated[
        Strategies,
        Meta(
            description="Where the answer may stand, in order; without a match `phrase`, `label`,"
            " the last formula, the last number."
        ),
    ] = MARKED
    max_values: Annotated[
        MaxValues,
        Meta(description="More different marked answers than this are guessing, and earn nothing."),
    ] = 1
    timeout_s: Annotated[
        float,
        Meta(
            gt=0, le=60, description="CPU time for one comparison; the slowest of MATH takes 0.2 s."
        ),
    ] = 3.0
    memory_mb: Annotated[
        int, Meta(ge=128, le=8192, description="Address space of a worker process.")
    ] = 512
    workers: Annotated[
        int, Meta(ge=0, le=64, description="Worker processes at most; 0 for one per core.")
    ] = 0


class Mathematics:
    """The verifier."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._pool = Pool(
            options.workers or len(os.sched_getaffinity(0)), options.timeout_s, options.memory_mb
        )

    async def __call__(self, sample: Sample, /) -> Check:
        if sample.response is None:
            return Check(score=None, reason="no_response")
        if not sample.reference or not sample.reference.strip():
            return Check(score=None, reason="no_reference")
        if len(sample.reference) > MAX_REFERENCE_CHARS:
            return self._check("reference_exhausts")
        return self._check(await self._outcome(sample.response, sample.reference))

    async def _outcome(self, response: str, reference: str) -> Ended:
        options = self._options
        found, gold = extract(response, options.strategies), gold_text(reference)
        if found is None:
            return await self._unmarked(response, gold)
        if len(found.text) > MAX_ANSWER_CHARS:
            return "answer_exhausts"
        if found.values > options.max_values:
            parts = _parts(response) if found.strategy == "boxed" else ""
            several = await self._compare(parts, gold) if parts else "guesses"
            return several if several == "equal" or several in UNVERIFIED else "guesses"
        return await self._compare(found.text, gold)

    async def _unmarked(self, response: str, gold: str) -> Ended:
        """Compares the first text that may be the answer and can be read."""
        outcome: Ended = "no_answer"
        for text in stated(response[-TAIL_CHARS:]):
            outcome = await self._compare(text, gold)
            if outcome != "no_answer":
                break
        return outcome

    async def _compare(self, said: str, gold: str) -> Ended:
        if DECIMAL_COMMA.fullmatch(gold) and compare(said, gold.replace(",", "."), 0.0):
            return "equal" if compare(said, gold, 0.0) else "ambiguous"
        same = compare(said, gold, self._options.tolerance)
        if same is not None:
            return "equal" if same else "different"
        task = Task(_in_unicode(said), _in_unicode(gold), self._options.tolerance)
        outcome = await self._pool.ask(task)
        if outcome == "answer_exhausts" and PLAIN.fullmatch(said):
            return "comparison_exhausts"
        return outcome

    def _check(self, outcome: Ended) -> Check:
        if reason := UNVERIFIED.get(outcome):
            return Check(score=None, reason=reason, detail=DETAILS[outcome])
        score = {"equal": 1.0, "different": self._options.format_score}.get(outcome, 0.0)
        return Check(score=score, detail=DETAILS[outcome])

    async def aclose(self) -> None:
        """Ends the worker processes."""
        await self._pool.aclose()

    def statistics(self) -> Mapping[str, int]:
        """Statistics of the worker processes."""
        return self._pool.statistics()

    def __repr__(self) -> str:
        return f"<Mathematics {self._pool!r}>"


def gold_text(reference: str) -> str:
    """The mathematics in a reference, which may be a whole solution."""
    found = extract(reference, MARKED)
    if found and found.strategy == "boxed" and found.values > 1:
        return _parts(reference) or found.text
    return found.text if found else reference.strip()


def _parts(text: str) -> str:
    """The different contents of all boxes as the parts of one answer, empty if they are too many."""
    contents = list(dict.fromkeys(content for content in boxed(text) if content))
    return "; ".join(contents) if len(contents) <= MAX_BOXES else ""


def _in_unicode(text: str) -> str:
    """The text without lone surrogates, which a message cannot hold."""
    return text.encode("utf-8", "replace").decode()


def make(options: Options) -> Mathematics:
    """Makes the verifier; it starts no process before the first comparison."""
    return Mathematics(options)
