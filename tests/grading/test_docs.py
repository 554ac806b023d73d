import itertools
import re
from pathlib import Path

import pytest

from judge_service.grading import PromptWriter, Rubric, load_rubric
from judge_service.grading.aggregate import REDUCERS
from judge_service.grading.rubric.file import SYSTEM_PLACEHOLDERS, USER_PLACEHOLDERS
from judge_service.grading.rubric.forms import (
    CriterionForm,
    GateForm,
    LengthForm,
    LevelForm,
    RepetitionForm,
    RubricFile,
    ShapingForm,
    VerifiedForm,
)
from judge_service.grading.shaping import LengthShaping, RepetitionShaping
from judge_service.values import Gate, Sample

PAGE = (Path(__file__).parents[2] / "docs" / "rubrics.md").read_text("utf-8")


@pytest.mark.parametrize("form", [RubricFile, CriterionForm, VerifiedForm])
def test_every_key_has_its_row(form: type) -> None:
    for key in form.__struct_fields__:
        assert re.search(rf"^\| .*`{key}`.* \|", PAGE, re.MULTILINE)


def test_every_inner_key_and_placeholder_is_named() -> None:
    forms = (GateForm, LevelForm, ShapingForm, LengthForm, RepetitionForm)
    for key in (key for form in forms for key in form.__struct_fields__):
        assert re.search(rf"\b{key}\b", PAGE)
    for name in {*USER_PLACEHOLDERS, *SYSTEM_PLACEHOLDERS}:
        assert f"`{{{{{name}}}}}`" in PAGE


def test_the_rubrics_of_the_page_load() -> None:
    texts = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert [load_rubric(text).name for text in texts] == ["helpfulness", "explained_math"]


def rows_under(header: str) -> list[list[str]]:
    """The cells of a table of the page, by a piece of its header."""
    lines = iter(PAGE.splitlines())
    next(line for line in lines if line.startswith("|") and header in line)
    next(lines)
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_the_table_of_aggregations_is_what_they_do() -> None:
    for scores, *means in rows_under("| `geometric` | `min` |"):
        rows = [(float(score), 1.0) for score in scores.split(" and ")]
        assert means == [f"{REDUCERS[name](rows):.3f}" for name in REDUCERS]


def test_the_table_of_a_gate_is_what_it_does() -> None:
    for score, slope, cliff in rows_under("the reward is at most"):
        assert slope == f"{Gate(0.5, 0.1).limit(float(score)):.3f}"
        assert cliff == f"{Gate(0.5, 0.1, 0.0).limit(float(score)):.3f}"


def test_the_tables_of_shaping_are_what_it_does() -> None:
    for chars, factor in rows_under("| characters, `min_chars = 200"):
        for number in re.findall(r"\d+", chars):
            assert factor == f"{LengthShaping(200, 1000, 0.3).factor(int(number)):.3f}"
    for share, factor in rows_under("| repeated share, defaults |"):
        for number in re.findall(r"[\d.]+", share):
            assert factor == f"{RepetitionShaping().factor(float(number)):.3f}"


def test_the_defaults_of_shaping_are_those_of_the_page() -> None:
    shaping = {
        line.split("|")[1].strip().strip("`"): line.split("|")[3].strip()
        for line in PAGE.splitlines()
        if re.match(r"\| `(length|repetition)\.", line)
    }
    forms = {"length": LengthForm(), "repetition": RepetitionForm()}
    for key, default in shaping.items():
        table, _, name = key.partition(".")
        value = getattr(forms[table], name)
        assert default == ("none" if value is None else f"{value:g}")
    assert len(shaping) == 6


def test_the_prompt_of_the_page_is_the_real_one(similarity: Rubric) -> None:
    writer = PromptWriter(similarity, fence_secret=b"a secret of tests", temperature=0.0)
    question = writer.question(Sample(response="It is Paris.", reference="Paris"))
    real = writer.write(question, "text").messages[1].content
    shown = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)[0]
    assert re.sub(r"[0-9a-f]{16}", "0123456789abcdef", real) == shown
