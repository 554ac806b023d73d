"""Tests that no answer can pass leave the row unscored; what is only unlikely does not."""

from typing import Any

import pytest

from judge_service.verifiers.code.impossible import why_impossible
from judge_service.verifiers.code.suite import read_suite

NEVER = "asserts what is never true"
VALUE = "takes `f` as a value"


def why(tests: Any, entry_point: str = "") -> str:
    return why_impossible(read_suite(tests, entry_point=entry_point).steps, 1024)


@pytest.mark.parametrize(
    ("tests", "said"),
    [
        (["assert f(1) == 1\nassert False"], NEVER),
        (["assert f(1) == 1", "x = f(2)\nassert None, x"], NEVER),
        ("def test_a():\n    assert f(1) == 1\n    assert 0\n", NEVER),
        (["assert f(1) == 1", "assert callable(f)"], VALUE),
        ("assert f(1) == 1\nassert sorted([2, 1], key=f) == [2, 1]", VALUE),
        ("assert list(map(f, [1])) == [f(1)]", VALUE),
        ("def test_a():\n    assert isinstance(f(), f)\n", VALUE),
        ("def check(c):\n    assert c(1) == 1\n    assert c is not None\ncheck(f)", VALUE),
        ([{"stdin": "1", "stdout": "x" * 1025}], "more than `output_kb`"),
        ([{"stdin": "1", "stdout": "1"}, {"stdin": "1", "stdout": "2"}], "different output"),
    ],
)
def test_what_no_answer_can_pass_is_found(tests: Any, said: str) -> None:
    assert said in why(tests)


@pytest.mark.parametrize(
    "tests",
    [
        "assert f(1) == 1",
        "assert LIMIT == 3\nassert f(1) == LIMIT",
        "assert f.__name__ == 'f'\nassert f(1) == 1",
        "assert f(1) or callable(f)",
        "assert f(1) == 1\nif f(2):\n    assert callable(f)",
        "try:\n    f(1)\n    assert False\nexcept ValueError:\n    pass\nassert f(2) == 2",
        "def test_a():\n    if f(1):\n        return\n    assert False\n",
        "assert [f(1) for g in [f]] and f(1)",
        "print(f)\nassert f(1) == 1",
        "assert f(f, 1) == 1",
        [{"stdin": "1", "stdout": "x" * 1024 + "\n"}],
        [{"stdin": "1", "stdout": "1\n"}, {"stdin": "1", "stdout": "1"}],
        [{"call": "f(1)", "expected": 1}, {"call": "f(1)", "expected": 2}],
    ],
)
def test_what_an_answer_may_pass_is_none(tests: Any) -> None:
    assert why(tests) == ""
