"""The schema for editors, held against the reader of rubrics itself."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from judge_service.errors import RubricError
from judge_service.grading import load_rubric
from judge_service.grading.rubric.schema import rubric_schema
from judge_service.verifiers import MODULES

ROOT = Path(__file__).parents[3]
RUBRICS = [
    *sorted((ROOT / "examples" / "rubrics").glob("*.toml")),
    *sorted((ROOT / "judge_service" / "grading" / "rubrics").glob("*.toml")),
    *sorted((ROOT / "judge_service" / "cli" / "scaffolds").glob("*.toml")),
]
CRITERION = {"name": "good", "description": "Is it good?"}
CHECKED = {"kind": "verify", "name": "right", "verify": "exact"}


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = rubric_schema(list(MODULES))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


@pytest.mark.parametrize("path", RUBRICS, ids=lambda path: path.name)
def test_every_rubric_of_ours_is_valid(path: Path, validator: Any) -> None:
    text = path.read_text("utf-8").replace("NAME", "small")
    assert list(validator.iter_errors(tomllib.loads(text))) == []
    assert load_rubric(text).name


ACCEPTED: list[dict[str, Any]] = [
    {"criteria": [CRITERION]},
    {"criteria": [{"kind": "judge", **CRITERION}, CHECKED]},
    {"criteria": [{**CHECKED, "options": {"keep_case": True}, "weight": 2}]},
    {"criteria": [{**CRITERION, "levels": [0, {"value": 1, "means": "fully"}], "step": 0.5}]},
    {"criteria": [{**CRITERION, "gate": {"below": 0.5, "width": 0}}]},
    {"criteria": [CRITERION], "shaping": {"length": {"max_chars": 9}, "repetition": {}}},
    {"criteria": [CRITERION], "output": "-1..1", "compare": "group", "aggregation": "geometric"},
]
REFUSED: list[dict[str, Any]] = [
    {},
    {"criteria": []},
    {"criteria": [CRITERION], "nmae": "x"},
    {"criteria": [{**CRITERION, "kind": "verify"}]},
    {"criteria": [{**CHECKED, "levels": [0, 1]}]},
    {"criteria": [{**CHECKED, "verify": "exakt"}]},
    {"criteria": [{"name": "right", "verify": "exact"}]},
    {"criteria": [{**CRITERION, "name": "Good"}]},
    {"criteria": [{**CRITERION, "description": " "}]},
    {"criteria": [{**CRITERION, "weight": 0}]},
    {"criteria": [{**CRITERION, "gate": {"cap": 0.5}}]},
    {"criteria": [{**CRITERION, "gate": {"below": 2}}]},
    {"criteria": [{**CRITERION, "step": 0}]},
    {"criteria": [CRITERION], "output": "0..10"},
    {"criteria": [CRITERION], "shaping": {"length": {"max": 9}}},
    {"criteria": [CRITERION], "shaping": {"repetition": {"weight": 2}}},
]


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {toml(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    return json.dumps(value)


def as_toml(table: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(value)}\n" for key, value in {"name": "small", **table}.items())


@pytest.mark.parametrize("table", ACCEPTED, ids=str)
def test_what_the_reader_takes_the_schema_takes(table: dict[str, Any], validator: Any) -> None:
    assert load_rubric(as_toml(table)).name == "small"
    assert validator.is_valid({"name": "small", **table})


@pytest.mark.parametrize("table", REFUSED, ids=str)
def test_what_the_schema_refuses_the_reader_refuses(table: dict[str, Any], validator: Any) -> None:
    assert not validator.is_valid({"name": "small", **table})
    if table.get("criteria") == [{**CHECKED, "verify": "exakt"}]:
        return  # which verifiers there are is known where they are opened
    with pytest.raises(RubricError):
        load_rubric(as_toml(table))


def test_an_editor_is_told_what_every_key_of_a_rubric_means() -> None:
    schema = rubric_schema(["exact"])
    silent = [
        key
        for key, form in schema["properties"].items()
        if "description" not in form and "$ref" not in form
    ]
    assert silent == []
    assert "discriminator" not in json.dumps(schema)
