"""Mathematical equivalence: texts that need no algebra, and the library in its worker."""

import json
import os
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from antlr4.atn.PredictionMode import PredictionMode

from judge_service.values import UNSCORED_REASONS, Sample
from judge_service.verifiers import Check, Front, open_verifier
from judge_service.verifiers.extract import extract
from judge_service.verifiers.math.library import Mathematics as Library
from judge_service.verifiers.math.plain import compare
from judge_service.verifiers.math.pool import Worker
from judge_service.verifiers.math.verifier import (
    DETAILS,
    MARKED,
    MAX_REFERENCE_CHARS,
    PLAIN,
    UNVERIFIED,
    Mathematics,
)
from judge_service.verifiers.math.worker import Task, Verdict, find

DATA = os.environ.get("TEST_DATA", "")


def opened(**options: object) -> Mathematics:
    front = open_verifier("math", {"workers": 1, **options})
    assert isinstance(front, Front)
    assert isinstance(front.inner, Mathematics)
    return front.inner


async def check(response: str | None, reference: str | None, **options: object) -> Check:
    verifier = opened(**options)
    try:
        return await verifier(Sample(response=response, reference=reference))
    finally:
        await verifier.aclose()


async def test_guessing_with_many_boxes_earns_nothing() -> None:
    guesses = " ".join(rf"\boxed{{{number}}}" for number in range(8))

    assert await check(guesses, "7") == Check(score=0.0, detail=DETAILS["guesses"])
    assert (await check(guesses, "7", max_values=8)).score == 1.0


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        ("7", "7", True),
        ("007", "7", True),
        ("1,234", "1234", True),
        ("1,23", "123", None),
        (r"\left( 3, \dfrac{\pi}{2} \right)", r"(3,\frac{\pi}{2})", True),
        ("$x$", "x", True),
        (r"\leftarrow", "arrow", None),
        ("1 2", "12", None),
        ("1, 100", "1,100", None),
        (r"\text{Yes}", "yes", True),
        ("b", r"\text{(B)}", True),
        (r"\text{B}", "b", None),
        ("-3", "3", False),
        ("+3.50", "3.5", True),
        (".5", "1/2", True),
        (r"-\frac{2}{4}", "-1/2", True),
        (r"\frac{1}{3}", "0.333", False),
        ("0.333333", "0.3333333", None),
        ("10", "11", False),
        ("1/0", "7", None),
        ("x+1", "1+x", None),
        ("2516_8", "2516_{8}", True),
        ("2516_8", "2516_9", False),
        ("40_10", "40_9", False),
        ("a1_{16}", "A1_{16}", True),
        ("11_2", "3", None),
        ("50\\%", "50", None),
        ("", "", None),
        (".", "7", None),
        ("\u0667", "7", True),
        ("1" * 201, "1" * 201, None),
    ],
)
def test_what_needs_no_algebra_is_compared_at_once(
    answer: str, reference: str, same: bool | None
) -> None:
    assert compare(answer, reference, 0.0) is same


def test_numbers_may_differ_by_the_tolerance_relative_to_the_reference() -> None:
    assert compare("101", "100", 0.01) is True
    assert compare("102", "100", 0.01) is False
    assert compare("0.1", "0", 0.5) is False


def test_the_library_is_asked_for_what_needs_algebra() -> None:
    library = Library()

    def verdicts(answer: str, reference: str, tolerance: float = 0.0) -> list[Verdict | None]:
        told: list[Verdict | None] = []
        find(Task(answer, reference, tolerance), library, told.append)
        return told

    assert verdicts("(x-1)(x+1)", "x^2-1") == [None, "equal"]
    assert verdicts(r"\{2, 1\}", r"\{1, 2\}") == [None, "equal"]
    assert verdicts("(2, 1)", "(1, 2)") == [None, "different"]
    assert verdicts(r"50\%", "0.5") == [None, "equal"]
    assert verdicts(r"50\%", "50") == [None, "equal"]
    assert verdicts("x+1.0001", "x+1", 0.001) == [None, "different"]
    assert verdicts("9 i + 6", "6+9i") == [None, "equal"]
    assert verdicts("9 i + 7", "6+9i") == [None, "different"]
    assert verdicts("3 apples", "3") == [None, "equal"]
    assert verdicts(r"\sqrt{2}", "1.414") == [None, "different"]
    assert verdicts(r"\sqrt{2}", "1.414", 0.001) == [None, "equal"]
    assert verdicts(r"\sqrt{2}", "1.4", 0.001) == [None, "different"]
    assert verdicts("x", "1.4", 0.001) == [None, "different"]
    assert verdicts(r"\frac{\pi}{1000}", r"\frac{\pi}{1001}", 0.0005) == [None, "different"]
    assert verdicts(r"10^{30}+\sin(1)", r"10^{30}+\cos(1)") == [None, "different"]
    assert verdicts(r"\frac{x^2-1}{x-1}", "x+1") == [None, "equal"]
    assert verdicts("y+1", "x+1") == [None, "different"]
    assert verdicts("x=5", "5") == [None, "equal"]
    assert verdicts("evelyn", r"\text{Evelyn}") == [None, "equal"]
    assert verdicts(r"145^\circ", "145") == [None, "equal"]
    assert verdicts("", "7") == [None, "no_answer"]
    assert verdicts("7", "") == ["no_reference"]


def test_the_quick_stage_of_the_parser_is_in_force_and_the_full_one_follows_it() -> None:
    Library()
    converter = import_module("latex2sympy2_extended.latex2sympy2")._Latex2Sympy
    tried: list[str] = []

    class Watched(converter):  # type: ignore[misc, valid-type]
        def create_parser(self, latex: str) -> Any:
            tried.append(self.mode)
            return super().create_parser(latex)

    Watched().parse("1+x")
    with pytest.raises(Exception, match=r"expected|understand"):
        Watched().parse(r"\frac{1}")

    assert tried == [PredictionMode.SLL, PredictionMode.SLL, PredictionMode.LL]


async def test_hostile_mathematics_ends_at_its_limit_with_the_lowest_score() -> None:
    verifier = opened(timeout_s=0.3)

    for hostile in (r"\sin(10^{10^{10}})", r"9^{9^{8}}-9^{9^{8}}-\cos(9^{9^{9}})"):
        found = await verifier(Sample(response=rf"\boxed{{{hostile}}}", reference="7"))
        assert found == Check(score=0.0, detail=DETAILS["answer_exhausts"])

    assert verifier.statistics()["idle"] == 0
    assert await verifier(Sample(response="$1+x$", reference="x+1")) == Check(
        score=1.0, detail=DETAILS["equal"]
    )
    assert verifier.statistics()["idle"] == 1
    await verifier.aclose()
    assert verifier.statistics()["idle"] == 0


async def test_a_plain_answer_is_not_blamed_for_what_its_reference_costs() -> None:
    towering = await check(r"\boxed{7}", r"9^{9^{9^9}}", timeout_s=0.3)
    hostile = await check(r"\boxed{\sin(10^{10^{10}})}", "x", timeout_s=0.3)

    assert (towering.score, towering.reason) == (None, "cannot_judge")
    assert (hostile.score, hostile.detail) == (0.0, DETAILS["answer_exhausts"])


@pytest.mark.parametrize(
    ("text", "is_plain"),
    [
        ("1+x", True),
        (r"\frac{1}{2} + 3*x", True),
        ("(a+b)(c+d)(e+f)(g+h)(i+j)", True),
        ("(a+b)(c+d)(e+f)(g+h)(i+j)(k+l)(m+n)", False),
        ("9^9", False),
        ("9**9", False),
        ("9!", False),
        (r"\sqrt{2}", False),
    ],
)
def test_a_plain_answer_is_short_and_has_no_power_or_function(text: str, is_plain: bool) -> None:
    assert bool(PLAIN.fullmatch(text)) is is_plain


async def test_no_comparison_pays_for_being_the_first_of_its_process() -> None:
    verifier = opened(timeout_s=60.0)
    pool = verifier._pool

    async def cpu_s(answer: str, reference: str) -> float:
        """CPU time of the worker for one comparison."""
        before_s = worker_cpu_s()
        assert (await verifier(Sample(response=f"${answer}$", reference=reference))).score == 1.0
        return worker_cpu_s() - before_s

    def worker_cpu_s() -> float:
        (worker,) = pool._idle
        with open(f"/proc/{worker._process.pid}/stat") as stat:  # noqa: PTH123  a pseudo file
            fields = stat.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    worker = await Worker.spawn(60.0, 512)
    await worker.ready()
    pool._idle.append(worker)
    first_s = await cpu_s("1+x", "x+1")
    starting_s = worker_cpu_s() - first_s
    await verifier.aclose()

    assert first_s < starting_s / 5  # 0.02 to 0.05 of it; unwarmed 0.4, whatever the machine


async def test_what_is_no_unicode_is_compared_nonetheless() -> None:
    assert (await check("\\boxed{\ud800 + x}", "x")).score == 0.0


async def test_what_is_too_long_is_not_even_compared() -> None:
    verifier = opened()
    long_answer = Sample(response=r"\boxed{" + "1+" * 5_000 + "1}", reference="7")
    long_reference = Sample(response="7", reference="7" * (MAX_REFERENCE_CHARS + 1))

    assert (await verifier(long_answer)).detail == DETAILS["answer_exhausts"]
    assert (await verifier(long_reference)).reason == "cannot_judge"
    assert verifier.statistics()["started"] == 0


@pytest.mark.parametrize(
    ("response", "reference", "score", "reason"),
    [
        (r"\boxed{72}", "so 8 * 9 = 72\n#### 72", 1.0, None),
        (r"\boxed{71}", "72", 0.0, None),
        (None, "72", None, "no_response"),
        (r"\boxed{71}", None, None, "no_reference"),
        (r"\boxed{71}", " ", None, "no_reference"),
    ],
)
async def test_a_row_is_scored_or_has_a_reason(
    response: str | None, reference: str | None, score: float | None, reason: str | None
) -> None:
    found = await check(response, reference)

    assert (found.score, found.reason) == (score, reason)


async def test_a_wrong_answer_in_the_right_form_can_be_worth_something() -> None:
    assert (await check(r"\boxed{71}", "72", format_score=0.1)).score == 0.1


def test_every_outcome_has_a_sentence_and_its_reason_is_a_known_word() -> None:
    assert UNVERIFIED.keys() <= DETAILS.keys()
    assert set(UNVERIFIED.values()) <= UNSCORED_REASONS.keys()


def test_the_verifier_says_what_it_does() -> None:
    assert repr(opened()) == "<Mathematics <Pool 0 busy of 1, 0 tasks>>"


@pytest.mark.skipif(not DATA, reason="TEST_DATA is not set")
def test_every_gold_answer_of_the_data_set_is_accepted_from_its_whole_solution() -> None:
    rows = [json.loads(row) for row in (Path(DATA) / "math500/test.jsonl").read_text().splitlines()]

    refused = [
        row["unique_id"]
        for row in rows
        if not (found := extract(row["solution"], MARKED))
        or compare(found.text, row["answer"], 0.0) is not True
    ]

    assert refused == []
