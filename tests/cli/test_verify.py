"""`judge verify` scores one answer and tells how both sides were read."""

import io
import json
from typing import Any

import pytest

from judge_service.cli import main
from judge_service.values import Sample
from judge_service.verifiers import MODULES
from judge_service.verifiers.reading import how_read


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    status = main(["verify", *arguments, "--json"])
    return status, json.loads(capsys.readouterr().out)


def test_a_score_and_both_sides_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    response = r"<think>\boxed{7}</think>It is \boxed{1,000}."
    assert main(["verify", "number", "--response", response, "--reference", "#### 1e3"]) == 0

    assert capsys.readouterr().out.splitlines() == [
        "score      1",
        "detail     the stated answer equals the reference",
        "answer     1,000   (boxed)",
        "  read as  1000",
        "reference  1e3   (hashes)",
        "  read as  1000",
    ]


def test_an_answer_that_was_not_found_or_cannot_be_scored_is_told(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, found = told(capsys, "boxed", "--response", "It is 3.", "--reference", "3")
    assert (status, found["score"], found["answer"]["taken"]) == (0, 0.0, None)

    status, found = told(capsys, "number", "--response", "3", "--reference", "many")
    assert (status, found["score"], found["reason"]) == (3, None, "no_reference")
    assert found["reference"]["read_as"] == "no number"

    assert main(["verify", "number", "--response", "x"]) == 3
    said = capsys.readouterr().out
    assert "score      none (no_reference)" in said
    assert "reference  nothing (no strategy)" in said


def test_options_come_from_an_object_and_one_by_one(capsys: pytest.CaptureFixture[str]) -> None:
    case = ("exact", "--response", "Oslo", "--reference", "oslo")
    assert told(capsys, *case)[1]["score"] == 1
    assert told(capsys, *case, "--options", '{"keep_case": true}')[1]["score"] == 0
    both = ("--options", '{"keep_case": true}', "--set", "keep_case=false")
    assert told(capsys, *case, *both)[1]["score"] == 1
    pattern = ("regex", "--response", "abc", "--set", "pattern=b+")
    assert told(capsys, *pattern)[1]["score"] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no verifier `nothing`"),
        (["exact", "--set", "keep_case=3"], "keep_case"),
        (["exact", "--set", "keep_case"], "has no `=`"),
        (["exact", "--options", "[]"], "--options: is no JSON object"),
        (["exact", "--row", "{"], "--row: is no JSON object"),
    ],
)
def test_a_mistake_is_one_sentence_and_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", *arguments, "--response", "x", "--reference", "x"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert said in printed.err


def test_the_answer_may_come_from_standard_input_and_shows_no_control_characters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("\x1b[2J" + "Oslo\n" * 200))
    assert main(["verify", "exact", "--response", "-", "--reference", "Oslo"]) == 0
    said = capsys.readouterr().out
    assert "\x1b" not in said
    assert "\ufffd[2JOslo \u23ce Oslo" in said
    assert " ...   (whole)" in said


READ: list[tuple[str, dict[str, Any], Sample, tuple[str, str]]] = [
    ("choice", {}, Sample(response="(B) Rome", reference="Rome"), ("B", "no choice")),
    (
        "sentiment",
        {},
        Sample(response="not bad, positive", reference="positive"),
        ("positive",) * 2,
    ),
    ("boxed", {}, Sample(response=r"\boxed{50\%}", reference="x + 1"), ("the number 50", "x+1")),
    (
        "math",
        {},
        Sample(response=r"\boxed{x>3}", reference=r"\int x"),
        ("(3, infty)", ""),
    ),
    ("math", {}, Sample(response="It is $2/4$.", reference="1/2"), ("", "")),
    (
        "tool_calls",
        {},
        Sample(response="f(x=1)", reference="[]"),
        ('[{"name":"f","arguments":{"x":1}}]', ""),
    ),
]


@pytest.mark.parametrize(("kind", "options", "sample", "forms"), READ)
def test_the_form_that_is_compared_is_told(
    kind: str, options: dict[str, Any], sample: Sample, forms: tuple[str, str]
) -> None:
    pytest.importorskip("math_verify")
    reading = how_read(kind, options, sample)
    for side, form in zip((reading.answer, reading.reference), forms, strict=True):
        assert side.taken is not None
        assert not form or side.read_as == form


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_every_kind_tells_how_it_reads_what_it_can_read_or_not(kind: str) -> None:
    pytest.importorskip("math_verify")
    pytest.importorskip("pydantic_monty")
    options = {"pattern": "x"} if kind == "regex" else {}
    for response in ("x = 3", "", None, '{"a": [1]}', "\ud800<think>"):
        for reference in ("3", "", None):
            how_read(kind, options, Sample(response=response, reference=reference))
