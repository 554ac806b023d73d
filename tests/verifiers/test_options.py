"""The options of every kind of verifier: described, strict, and refused in one sentence."""

from importlib import import_module
from typing import Any, get_args

import msgspec
import pytest
from msgspec import Meta

from judge_service.errors import RubricError
from judge_service.verifiers import MODULES, open_verifier


def options_of(kind: str) -> Any:
    return import_module(f"judge_service.verifiers.{MODULES[kind]}").Options


@pytest.mark.parametrize("kind", MODULES)
def test_every_option_says_what_it_does(kind: str) -> None:
    for field in msgspec.structs.fields(options_of(kind)):
        metas = [meta for meta in get_args(field.type) if isinstance(meta, Meta)]
        assert any(meta.description for meta in metas), field.name


@pytest.mark.parametrize("kind", MODULES)
def test_options_are_immutable(kind: str) -> None:
    assert options_of(kind).__struct_config__.frozen


@pytest.mark.parametrize("kind", MODULES)
def test_an_unknown_option_is_refused_with_its_name(kind: str) -> None:
    required = {"pattern": "a"} if kind == "regex" else {}

    with pytest.raises(RubricError, match=r"`criteria\[0\].options`.*`colour`"):
        open_verifier(kind, {**required, "colour": "red"}, "criteria[0].options")


def test_an_unknown_kind_is_refused_with_those_there_are() -> None:
    with pytest.raises(RubricError, match=r"no verifier `colour`; there are boxed, choice"):
        open_verifier("colour", {})
