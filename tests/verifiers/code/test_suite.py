"""Tests are split for two interpreters: no expected value goes to the interpreter of the code."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from judge_service.verifiers.code.suite import Example, Program, Statement, Suite, read_suite

DATA = os.environ.get("TEST_DATA")


def texts(suite: Suite) -> list[str]:
    return [step.text for step in suite.steps if isinstance(step, Statement)]


@pytest.mark.parametrize(
    ("test", "rewritten"),
    [
        ("assert f(3) == 4", "assert _ask_('f(3)') == 4"),
        ("assert f(g(3)) == [4]", "assert _ask_('f(g(3))') == [4]"),
        ("assert f(1) == f(2)", "assert _ask_('f(1)') == _ask_('f(2)')"),
        ("assert not f('x')", "assert not _ask_(\"f('x')\")"),
        ("assert abs(f(1) - 2.5) < 0.1", "assert abs(_ask_('f(1)') - 2.5) < 0.1"),
        ("assert list(f(1)) == [2]", "assert _ask_('list(f(1))') == [2]"),
        ("assert list(zip(f(1), [2]))", "assert list(zip(_ask_('f(1)'), [2]))"),
        ("assert Stack(3).pop() == 3", "assert _ask_('Stack(3).pop()') == 3"),
        ("assert f(1)[0].name == 'a'", "assert _ask_('f(1)[0].name') == 'a'"),
        ("assert LIMIT == 3", "assert _ask_('LIMIT') == 3"),
        ("assert f(lambda x: x) == 3", "assert _ask_('f(lambda x: x)') == 3"),
        ("assert f([n for n in range(3)]) == 3", "assert _ask_('f([n for n in range(3)])') == 3"),
    ],
)
def test_a_call_of_the_code_is_asked_as_text(test: str, rewritten: str) -> None:
    suite = read_suite(test)
    assert texts(suite) == [rewritten]
    assert suite.total == 1


@pytest.mark.parametrize(
    ("test", "rewritten"),
    [
        ("f(n, *m, k=n, **o)", "_ask_('f', [n, *m], {'k': n, **o})"),
        ("f(g(n))", "_ask_('f', [_ask_('g', [n], {})], {})"),
        ("f(1).add(n)", "_ask_('f(1).add', [n], {})"),
        ("f(n).real", "_ask_('f', [n], {}).real"),
    ],
)
def test_values_of_the_tests_travel_as_arguments(test: str, rewritten: str) -> None:
    suite = read_suite(f"m, o = [], {{}}\nfor n in range(3):\n    assert {test} == n")
    assert texts(suite)[1] == f"for n in range(3):\n    assert {rewritten} == n"


def test_functions_of_the_set_up_are_trusted_with_expected_values() -> None:
    suite = read_suite(
        ["assert close(f(1), 2.5)"], setup="import math\ndef close(a, b): return True"
    )
    assert texts(suite) == ["assert close(_ask_('f(1)'), 2.5)"]
    assert suite.setup == ("import math", "def close(a, b):\n    return True")


def test_the_body_of_check_is_a_test_per_assertion() -> None:
    suite = read_suite(
        "def check(candidate):\n    x = 3\n    assert candidate(x) == 1, 'why'\n    assert True\ncheck(top)"
    )
    assert suite.steps == (
        Statement("x = 3", is_test=False),
        Statement("assert _ask_('top', [x], {}) == 1, 'why'", is_test=True),
        Statement("assert True", is_test=False),
    )
    assert read_suite("def check(c):\n    assert c(1)", entry_point="low").steps == (
        Statement("assert _ask_('low(1)')", is_test=True),
    )


def test_what_depends_on_an_answer_is_a_test_and_what_asks_nothing_is_none() -> None:
    suite = read_suite("y = f(1)\nassert y == 2\nz = 3\nassert z == 3")
    assert [step.is_test for step in suite.steps if isinstance(step, Statement)] == [
        False,
        True,
        False,
        False,
    ]
    assert suite.total == 1


def test_a_test_function_is_one_test() -> None:
    suite = read_suite("def test_a():\n    assert f(1) == 2\n    assert f(2) == 3\n")
    assert suite.total == 1
    assert texts(suite)[1] == "test_a()"


def test_objects_are_examples_or_programs() -> None:
    assert read_suite([{"call": "f(1)", "expected": None}, {"stdin": "", "stdout": "x"}]).steps == (
        Example("f(1)", None),
        Program("", "x"),
    )


@pytest.mark.parametrize(
    ("tests", "problem"),
    [
        (3, "neither text"),
        ([], "neither text"),
        (["assert f(1)", {}], "neither text"),
        ([{"call": 1, "expected": 2}], "an object has neither"),
        ("assert", "not valid Python"),
        ("assert f(1)\n" * 1001, "at most 1000"),
        ("#" * 200_001, "more than 200000 characters"),
        ("assert 1 == 1", "none of them calls"),
        ("f(1)", "none of them calls"),
        ("def check(candidate):\n    assert candidate(1)", "no field names"),
    ],
)
def test_what_is_no_test_is_said(tests: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        read_suite(tests)


@pytest.mark.skipif(DATA is None, reason="needs the data sets (TEST_DATA)")
def test_every_assertion_of_mbpp_is_a_test_that_asks_once() -> None:
    rows = (Path(str(DATA)) / "mbpp" / "mbpp.jsonl").read_text().splitlines()
    for line in rows:
        row = json.loads(line)
        suite = read_suite(row["test_list"], row["test_setup_code"])
        assert suite.total == len(row["test_list"])
        assert all(text.count("_ask_") == 1 for text in texts(suite)), row["task_id"]


@pytest.mark.parametrize(
    ("tests", "entry_point", "own"),
    [
        (["assert sum(10, 15) == 6", "assert sum(1, 2) == 3"], "", "sum"),
        ("assert not max([])\nassert 2 == max([1, 2])", "", "max"),
        ("assert list([1]) == [1]", "", "list"),
        ([{"call": "pow(2, 3)", "expected": 8}], "", "pow"),
        ("assert len('ab') == 2", "len", "len"),
        ("def check(candidate):\n    assert candidate(1, 2) == 3", "sum", "sum"),
        ("assert sum([f(1)]) == 3", "", ""),
        ("assert f(1) == 1\nassert sum([1]) == 1", "", ""),
        ("import math\nassert math.sqrt(f(4)) == 2", "", ""),
    ],
)
def test_a_function_named_as_a_built_in_one_is_the_codes_if_the_tests_call_no_other(
    tests: Any, entry_point: str, own: str
) -> None:
    suite = read_suite(tests, entry_point=entry_point)
    assert suite.own_builtin == own
    assert suite.total
    if own:
        assert all(isinstance(step, Example) or "_ask_" in step.text for step in suite.steps)  # type: ignore[union-attr]  # no programs


def test_what_tests_use_themselves_is_not_taken_for_the_codes() -> None:
    with pytest.raises(ValueError, match="none of them calls"):
        read_suite("assert len([1]) == 1")
    with pytest.raises(ValueError, match="none of them calls"):
        read_suite("sum = 3\nassert sum(1) == 1")
