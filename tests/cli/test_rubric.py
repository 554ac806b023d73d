"""The actions of `judge rubric`: new, check, render, schema."""

import json
from pathlib import Path
from typing import Any

import pytest

from judge_service.cli import main
from judge_service.cli.rubric_new import KINDS

RUBRIC = """
name = "mixed"
[[criteria]]
kind = "verify"
name = "right"
verify = "exact"
weight = 3
gate = { below = 1.0, cap = 0.4, width = 0.5 }
[[criteria]]
name = "clear"
description = "Is it clear?"
levels = [0, 1, 2]
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("JUDGE_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mixed.toml").write_text(RUBRIC)
    return tmp_path


def example(answer: str, rank: Any = None, **fields: Any) -> dict[str, Any]:
    turns = [{"role": "user", "content": "2+2?"}, {"role": "assistant", "content": answer}]
    row = {"messages": turns, "reference_answer": "4", **fields}
    return row if rank is None else {**row, "expected_rank": rank}


def write(name: str, rows: list[dict[str, Any]]) -> str:
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_a_new_rubric_is_commented_and_passes_its_check(
    kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rubric", "new", "mine", "--from", kind]) == 0
    assert Path("mine.toml").read_text().count("#") >= 4
    assert main(["rubric", "check", "mine.toml"]) == 0
    assert "ok       mine " in capsys.readouterr().out


def test_a_new_rubric_never_takes_the_place_of_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "new", "mixed"]) == 2
    assert "mixed.toml: exists already" in capsys.readouterr().err
    assert Path("mixed.toml").read_text() == RUBRIC


@pytest.mark.parametrize("name", ["My_Rubric", "1st", "a b", "../up", "a" * 65, ""])
def test_a_name_that_no_rubric_can_have_is_refused(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rubric", "new", name]) == 2
    assert "is not a valid name of a rubric" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "new", "mine", "-o", "no/such/folder.toml"]) == 2
    assert "no/such/folder.toml: cannot be written" in capsys.readouterr().err


def test_the_check_says_in_words_what_the_rubric_does(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "check", "mixed.toml"]) == 0
    said = capsys.readouterr().out
    assert "right  verified by `exact`, 75% of the score; from 1 down to 0.5 the limit" in said
    assert "clear  judged from 0 to 2, 3 levels, 25% of the score" in said
    assert "call     clear: your judge, " in said


def test_the_check_refuses_in_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mixed.toml").write_text(RUBRIC.replace("weight", "wieght"))
    assert main(["rubric", "check", "mixed.toml"]) == 2
    assert capsys.readouterr().err == (
        "judge: mixed.toml: there is no key `criteria[0].wieght`; did you mean `weight`?\n"
    )


def test_a_name_with_a_line_break_is_no_rubric_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "check", "name = 'x'\n"]) == 2
    assert "there is no rubric" in capsys.readouterr().err


ORDERED = [
    example("4", 1, scripted={"clear": 2}),
    example("4.", 2, scripted={"clear": 1}),
    example("5", 3, scripted={"clear": 2}),
    example("6", 3, scripted={"clear": 2}),
]


def test_examples_in_their_expected_order_pass(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", ORDERED)
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect"]) == 0
    said = capsys.readouterr().out
    assert "1.000    line 1: right 1.000, clear 1.000" in said
    assert "0.875    line 2: right 1.000, clear 0.500" in said
    assert "ok       5 of 5 pairs are in the order of `expected_rank`" in said


def test_examples_in_another_order_are_named_and_fail(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", [example("5", 1), example("4", 2)])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect"]) == 2
    said = capsys.readouterr().out
    assert "problem  0 of 1 pairs are in the order of `expected_rank`" in said
    assert "line 1 (0.125) should be above line 2 (0.875)" in said


def test_equal_rewards_are_no_order(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", [example("5", 1), example("6", 2)])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect"]) == 2
    assert "line 1 (0.125) should be above line 2 (0.125)" in capsys.readouterr().out


def test_an_order_that_says_nothing_fails(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", [example("5", 1), example("4", 1)])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect"]) == 2
    assert "no two rows differ in `expected_rank`" in capsys.readouterr().out


def test_the_expected_order_may_stand_in_another_field() -> None:
    rows = write("rows.jsonl", [example("4", place=1), example("5", place=2)])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect", "place"]) == 0


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (example("4"), "line 1: the field `expected_rank` is not a number"),
        (example("4", "first"), "line 1: the field `expected_rank` is not a number"),
        (
            example("4", 1, scripted={"clear": "high"}),
            "line 1: the field `scripted` must hold numbers",
        ),
        (example("4", 1, scripted=2), "line 1: the field `scripted` must hold numbers"),
    ],
)
def test_a_row_that_says_nothing_usable_is_named(
    row: dict[str, Any], problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = write("rows.jsonl", [row])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows, "--expect"]) == 2
    assert problem in capsys.readouterr().err


def test_a_scripted_answer_off_the_scale_leaves_the_row_unscored(
    capsys: pytest.CaptureFixture[str],
) -> None:
    rows = write("rows.jsonl", [example("4", scripted={"clear": 7})])
    assert main(["rubric", "check", "mixed.toml", "--examples", rows]) == 0
    said = capsys.readouterr().out
    assert (
        "-        line 1: right 1.000, clear - (unparseable: the value of clear is off its scale)"
        in said
    )


def test_one_response_cannot_be_scripted_twice(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [example("4", scripted={"clear": score}) for score in (2, 2, 1)]
    asked = ["rubric", "check", "mixed.toml", "--examples", write("rows.jsonl", rows)]
    assert main(asked) == 2
    assert "line 3: `scripted` differs from that of an earlier row" in capsys.readouterr().err


def test_groups_are_rehearsed_side_by_side(capsys: pytest.CaptureFixture[str]) -> None:
    Path("group.toml").write_text(RUBRIC.replace('"mixed"', '"group"\ncompare = "group"'))
    rows = write("rows.jsonl", ORDERED[:2])
    assert main(["rubric", "check", "group.toml", "--examples", rows, "--expect"]) == 0
    assert "0.875    line 2: right 1.000, clear 0.500" in capsys.readouterr().out


def test_the_configured_judge_can_be_asked(capsys: pytest.CaptureFixture[str]) -> None:
    rows = write("rows.jsonl", [example("4")])
    asked = ["rubric", "check", "similarity", "--examples", rows, "--judge", "configured"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert "1.000    line 1: similarity 1.000" in said
    assert "scripted" not in said


def test_scores_of_the_scripted_judge_say_so(capsys: pytest.CaptureFixture[str]) -> None:
    programs = RUBRIC.rpartition("[[criteria]]")[0]
    for rubric, is_scripted in ((RUBRIC, True), (programs, False)):
        Path("mixed.toml").write_text(rubric)
        rows = write("rows.jsonl", [example("4")])
        assert main(["rubric", "check", "mixed.toml", "--examples", rows]) == 0
        assert ("judge    scripted: " in capsys.readouterr().out) == is_scripted


def test_a_new_rubric_says_how_its_schema_is_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "new", "mine"]) == 0
    command = capsys.readouterr().out.rpartition("judge ")[2]
    assert command == "rubric schema > rubric.schema.json\n"
    assert "#:schema ./rubric.schema.json" in Path("mine.toml").read_text()


def test_the_prompt_is_shown_as_it_would_be_sent(capsys: pytest.CaptureFixture[str]) -> None:
    row = write("row.json", [example("It is 4, says {{answer}}")])
    asked = ["rubric", "render", "mixed.toml", "--sample", row, "--answer", "text"]
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert said.startswith(
        "call 1 of 1: clear\nmodel your judge, answer as text, at most 10 output"
    )
    assert "\nIt is 4, says {{answer}}\n</response " in said
    assert "exact" not in said


def test_the_form_of_the_answer_is_shown_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "render", "mixed.toml", "--answer", "schema"]) == 0
    said = capsys.readouterr().out
    schema = json.loads(said.partition("--- schema of the answer\n")[2])
    assert schema["properties"]["clear"]["enum"] == [0, 1, 2]


def test_a_prompt_for_the_configured_model_names_it(capsys: pytest.CaptureFixture[str]) -> None:
    Path("judge.toml").write_text('backend = "openai"\nmodel = "judge-1"\n')
    several = RUBRIC + '[[criteria]]\nname = "kind"\ndescription = "Is it?"\nmodel = "judge-2"\n'
    Path("several.toml").write_text(several)
    assert main(["rubric", "render", "several.toml", "--config", "judge.toml"]) == 0
    said = capsys.readouterr().out
    assert "call 1 of 2: clear\nmodel judge-1, " in said
    assert "call 2 of 2: kind\nmodel judge-2, " in said


def test_a_rubric_that_programs_check_has_no_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    Path("checked.toml").write_text(RUBRIC.rpartition("[[criteria]]")[0])
    assert main(["rubric", "render", "checked.toml"]) == 0
    assert capsys.readouterr().out == "no judge is called: programs check every criterion\n"


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rubric", "schema"]) == 0
    schema = json.loads(capsys.readouterr().out)
    assert "exact" in schema["$defs"]["VerifiedForm"]["properties"]["verify"]["enum"]


def test_rewards_are_written_in_the_range_of_the_rubric() -> None:
    signed = RUBRIC.rpartition("[[criteria]]")[0].replace('"mixed"', '"signed"\noutput = "-1..1"')
    Path("signed.toml").write_text(signed)
    Path("judge.toml").write_text('rubric = "signed.toml"\n')
    rows = write("rows.jsonl", [example("4"), example("5")])
    assert main(["score", rows, "-o", "out.jsonl", "--config", "judge.toml", "--quiet"]) == 0
    written = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert [row["aggregate_reward_score"] for row in written] == [1.0, -1.0]


@pytest.mark.parametrize("action", ["new", "check", "render", "schema"])
def test_every_action_explains_itself(action: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["rubric", action, "--help"])
    assert ended.value.code == 0
    assert f"usage: judge rubric {action}" in capsys.readouterr().out
