"""The rules of docs/architecture.md, held over the syntax tree of every module."""

import ast
import re
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("judge_service", "lambda_adapter")
MAX_LINES = 400

VALUES = {"values", "errors"}
CONVENTION = {"flow.__init__"}
EVENTS = {"telemetry.events"}

ALLOWED: dict[str, set[str]] = {
    "values": set(),
    "errors": set(),
    "settings": {"errors"},
    "wire": VALUES,
    "verifiers": VALUES,
    "telemetry": VALUES,
    "flow": {"errors"} | EVENTS,
    "flow.admission": {"errors", "flow.stores", "flow.latencies", "flow.share"}
    | CONVENTION
    | EVENTS,
    "flow.stores": {"errors", "flow.share"},
    "http": {"errors", "settings"} | CONVENTION,
    "aws": {"errors", "settings", "http"} | CONVENTION,
    "grading": VALUES
    | {"grading.rubric", "grading.prompting", "grading.groups", "grading.monitoring"}
    | CONVENTION
    | EVENTS,
    "grading.rubric": VALUES | {"grading.shaping"},
    "grading.prompting": VALUES | {"grading.rubric"},
    "grading.groups": VALUES
    | {"grading.rubric", "grading.prompting"}
    | {"grading.grader", "grading.rewards", "grading.aggregate"}
    | CONVENTION,
    "grading.custom": VALUES | {"grading.rubric", "grading.rewards"} | CONVENTION,
    "grading.monitoring": VALUES | {"grading.shaping", "grading.lazy_pattern"} | EVENTS,
    "backends": VALUES | {"settings", "http", "aws"} | CONVENTION,
    "configuration": {"errors", "settings", "http", "aws"},
    "packaging": {"errors", "settings"},
    "throughput": {"settings"},
    "simulator": set(),
    "garbage_collection": set(),
    "parking": set(),
    "redaction": set(),
    "collector": {"garbage_collection"},
    "testing": EVENTS,
    "api": VALUES | {"service", "wire", "settings", "telemetry", "garbage_collection"},
    "lambda_adapter": {
        *("service", "wire", "settings", "errors", "telemetry", "configuration", "aws"),
    },
    "cli": VALUES
    | {
        *("service", "wire", "settings", "telemetry", "api", "configuration"),
        *("simulator", "packaging", "garbage_collection"),
        "verifiers",  # `judge verify` runs one without a service
    },
}
"""What each part may import besides itself: parts (`http`, `grading.rubric`), or single modules.

A part with a dot is a wing; what has no rule of its own here belongs to the room around it.
"""

UNBOUND = {"service", "assembly", "__init__", "__main__"}
"""The composition root in two parts, the lazy public surface and the entry of the command line."""

EVERYWHERE = {"parking", "redaction"}
"""What every part may import: the one primitive under everything that waits, and the one that hides our
secrets wherever foreign text comes in.
"""

GONE = (
    *(
        "Visit",
        "Stay",
        "Desk",
        "Foreman",
        "Shelf",
        "Hold",
        "Census",
        "Ledger",
        "Supply",
        "Pace",
        "Brake",
    ),
    *("Line", "Shared", "Siblings", "OwnGrader", "Door", "Unasked", "Watch", "Tally", "Brake"),
)
"""Class names that were words of this house only; docs/architecture.md has the field's words."""

GONE_FILES = (
    *(
        "visit",
        "stay",
        "desk",
        "foreman",
        "shelf",
        "ledger",
        "supply",
        "lanes",
        "pace",
        "window",
        "brake",
    ),
    *("standstill", "siblings", "unasked", "wishes", "tally", "sections", "own", "doors", "brake"),
)
TIME_WINDOW = "telemetry.window"
"""A window of time is one; the word is gone where it meant a pool of workers."""


def files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    """A module's name without the package: `flow.__init__`, `http.pool`; ours on Lambda keep it."""
    relative = path.relative_to(ROOT).with_suffix("")
    return ".".join(relative.parts).removeprefix("judge_service.")


MODULES = {name_of(path): path for path in files()}


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def part_of(module: str) -> str:
    """The wing or room that a module is in."""
    room, _, rest = module.partition(".")
    wing = f"{room}.{rest.partition('.')[0]}"
    return wing if wing in ALLOWED else room


def imports_of(path: Path, *, everywhere: bool = True) -> Iterator[str]:
    """Names of our modules that a file imports; not for types only.

    everywhere: also those inside functions.
    """
    left = list(ast.walk(tree_of(path))) if everywhere else tree_of(path).body
    for_types = {id(inner) for node in left if _is_for_types(node) for inner in ast.walk(node)}
    for node in left:
        if id(node) in for_types:
            continue
        if isinstance(node, ast.Import):
            yield from (found for alias in node.names if (found := _known(alias.name)))
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute, so that this test can read them"
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (found for name in names if (found := _known(name)))


def _is_for_types(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.If)
        and isinstance(node.test, ast.Name)
        and node.test.id == "TYPE_CHECKING"
    )


def _known(name: str) -> str | None:
    """The module that a dotted name is, or is in; `None` if it is not ours."""
    package = name.partition(".")[0]
    if package not in PACKAGES:
        return None
    name = name.removeprefix("judge_service.") if package == "judge_service" else name
    candidates = (name, f"{name}.__init__", name.rpartition(".")[0])
    for one in (*candidates, f"{candidates[2]}.__init__"):
        if one in MODULES:
            return one
    return "__init__"


def is_allowed(part: str, module: str) -> bool:
    target = part_of(module)
    everywhere = target in EVERYWHERE
    return everywhere or target == part or target in ALLOWED[part] or module in ALLOWED[part]


def circle_in(graph: Mapping[str, set[str]]) -> list[str]:
    """A circle, or nothing."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as found:
        return list(found.args[1])
    return []


def graph_of(*, rooms: bool = False, wings: bool = False) -> dict[str, set[str]]:
    """Who imports whom at run time, inside functions too: modules, or the rooms or wings they are in."""

    def node(module: str) -> str:
        room, *rest = module.split(".")
        if rooms and rest and room != "lambda_adapter":
            return room
        is_wing = wings and len(rest) > 1 and room != "lambda_adapter"
        return f"{room}.{rest[0]}" if is_wing else module

    graph: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        targets = {node(found) for found in imports_of(path)}
        graph.setdefault(node(module), set()).update(targets - {node(module)})
    return graph


def test_every_part_of_the_house_has_a_rule() -> None:
    assert {part_of(module) for module in MODULES} <= ALLOWED.keys() | UNBOUND


def test_every_rule_is_about_something_that_is_there() -> None:
    there = {part_of(module) for module in MODULES} | MODULES.keys()

    assert ALLOWED.keys() <= there
    assert {name for names in ALLOWED.values() for name in names} <= there


@pytest.mark.parametrize("module", MODULES)
def test_imports_follow_the_architecture(module: str) -> None:
    part = part_of(module)
    if part in UNBOUND:
        return

    refused = [name for name in imports_of(MODULES[module]) if not is_allowed(part, name)]

    assert not refused, f"{part} must not import {refused}"


def test_the_rule_refuses_what_it_should() -> None:
    assert not is_allowed("flow", "values")
    assert not is_allowed("flow", "flow.admission.breaker")
    assert not is_allowed("grading", "flow.retry")
    assert not is_allowed("grading", "backends.bedrock.backend")
    assert not is_allowed("grading.prompting", "grading.grader")
    assert not is_allowed("grading.monitoring", "grading.prompting.parse")
    assert not is_allowed("simulator", "errors")
    assert not is_allowed("http", "aws.sigv4")
    assert is_allowed("grading", "flow.__init__")
    assert is_allowed("backends", "http.transport")


def test_imports_are_read_wherever_they_stand(tmp_path: Path) -> None:
    (path := tmp_path / "one.py").write_text(
        "from typing import TYPE_CHECKING\n"
        "import judge_service.values\n"
        "from judge_service import flow\n"
        "from judge_service.http.pool import Pool\n"
        "if TYPE_CHECKING:\n    from judge_service.service import JudgeService\n"
        "def f():\n    from judge_service.aws import sigv4\n"
    )

    assert set(imports_of(path)) == {"values", "flow.__init__", "http.pool", "aws.sigv4"}
    assert set(imports_of(path, everywhere=False)) == {"values", "flow.__init__", "http.pool"}


@pytest.mark.parametrize("kind", ["modules", "wings", "rooms"])
def test_nothing_imports_in_a_circle_not_even_inside_functions(kind: str) -> None:
    assert not circle_in(graph_of(wings=kind == "wings", rooms=kind == "rooms"))


def test_a_circle_is_found() -> None:
    graph = graph_of(rooms=True)
    graph["errors"].add("service")

    assert circle_in(graph)


@pytest.mark.parametrize("path", files(), ids=name_of)
def test_no_file_is_too_long_to_be_read_at_once(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


def tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", *patterns], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return [ROOT / name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


NOQA = re.compile(r"#\s*noqa\b")
REASONED = re.compile(r"# noqa: [A-Z]+\d+(, [A-Z]+\d+)*( - |  )\S")


def unreasoned(text: str) -> list[str]:
    return [line for line in text.splitlines() if NOQA.search(line) and not REASONED.search(line)]


def test_every_lint_exception_has_a_reason() -> None:
    paths = [path for path in tracked("*.py") if path != Path(__file__)]
    found = {path.name: lines for path in paths if (lines := unreasoned(path.read_text()))}

    assert not found


def test_a_lint_exception_without_a_reason_is_found() -> None:
    assert unreasoned("import x  # noqa: E402")
    assert unreasoned("import x  # noqa")
    assert not unreasoned("import x  # noqa: E402, I001 - after the doubles")


def test_private_words_stay_gone() -> None:
    classes = {
        f"{module}.{node.name}"
        for module, path in MODULES.items()
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.ClassDef) and node.name.lstrip("_") in GONE
    }
    modules = {name for name in MODULES if set(name.split(".")) & set(GONE_FILES)}

    assert not classes
    assert modules == {TIME_WINDOW}
