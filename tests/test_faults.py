"""`docs/faults.md` has every fault once, and the tests it names exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FAULTS = [*range(1, 21), *range(22, 28), *range(35, 42), 43, 44]
ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")

ROWS = ROW.findall((ROOT / "docs" / "faults.md").read_text())


@cache
def functions(file: str) -> frozenset[str]:
    """The test functions of a file."""
    tree = ast.parse((ROOT / file).read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(node.name for node in tree.body if isinstance(node, kinds))


def test_every_fault_is_in_the_table_once() -> None:
    assert [int(number) for number, *_ in ROWS] == FAULTS


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_fault_names_tests_that_exist(row: tuple[str, str, str, str]) -> None:
    named = TEST.findall(row[3])

    assert named
    assert len(named) == len(row[3].split("<br>"))  # nothing stands there that is no test
    assert [name for file, name in named if name not in functions(file)] == []
