import re
from pathlib import Path

import pytest

from judge_service.grading import PromptWriter, Rubric, load_rubric
from judge_service.grading.rubric_file import SYSTEM_PLACEHOLDERS, USER_PLACEHOLDERS
from judge_service.grading.rubric_forms import (
    CriterionForm,
    GateForm,
    LengthForm,
    LevelForm,
    RepetitionForm,
    RubricFile,
    ShapingForm,
    VerifiedForm,
)
from judge_service.values import Sample

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


def test_the_smallest_rubric_of_the_page_loads(tmp_path: Path) -> None:
    path = tmp_path / "smallest.toml"
    path.write_text(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])
    assert load_rubric(str(path)).name == "helpfulness"


def test_the_prompt_of_the_page_is_the_real_one(similarity: Rubric) -> None:
    writer = PromptWriter(similarity, fence_secret=b"a secret of tests", temperature=0.0)
    question = writer.question(Sample(response="It is Paris.", reference="Paris"))
    real = writer.write(question, "text").messages[1].content
    shown = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)[0]
    assert re.sub(r"[0-9a-f]{16}", "0123456789abcdef", real) == shown
