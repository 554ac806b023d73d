"""The import rules of docs/architecture.md, held over the syntax tree of every module."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("judge_service", "lambda_adapter")
VALUES = {"values", "errors"}
CONVENTION = {"flow"}

ALLOWED: dict[str, set[str]] = {
    "values": set(),
    "errors": set(),
    "settings": {"errors"},
    "wire": VALUES,
    "verifiers": VALUES,
    "telemetry": VALUES,
    "flow": {"errors", "telemetry.events"},
    "http": {"errors", "settings"} | CONVENTION,
    "aws": {"errors", "settings", "http"},
    "grading": VALUES | CONVENTION | {"telemetry.events"},
    "backends": VALUES | CONVENTION | {"settings", "http", "aws"},
    "configuration": {"errors", "settings", "http", "aws"},
    "packaging": {"errors", "settings"},
    "throughput": {"settings"},
    "simulator": set(),
    "garbage_collection": set(),
    "collector": {"garbage_collection"},
    "testing": {"telemetry.events"},
    "cli": VALUES
    | {
        "service",
        "wire",
        "settings",
        "simulator",
        "telemetry",
        "packaging",
        "api",
        "configuration",
        "garbage_collection",
    },
    "api": VALUES | {"service", "wire", "settings", "telemetry", "garbage_collection"},
    "lambda_adapter": {
        "service",
        "wire",
        "settings",
        "errors",
        "telemetry",
        "configuration",
        "aws",
    },
}
"""Per part of the house, what else of ours it may import; its own modules always."""

UNBOUND = {"service", "assembly", "__init__", "__main__"}
"""The composition root in two files, the lazy public surface and the door to the command line."""


def modules() -> Iterator[tuple[Path, str]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            relative = path.relative_to(ROOT / package).with_suffix("")
            yield path, package if package == "lambda_adapter" else relative.parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Names of our modules that a file imports, without the package: `flow`, `telemetry.events`."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [_absolute(node)]
        else:
            continue
        for name in names:
            package, _, rest = name.partition(".")
            if package in PACKAGES:
                yield rest if package == "judge_service" else package


def _absolute(node: ast.ImportFrom) -> str:
    assert node.level == 0, "imports are absolute, so that this test can read them"
    module = node.module or ""
    if module == "judge_service":  # `from judge_service import wire` names a module
        return f"judge_service.{node.names[0].name}"
    return module


def is_allowed(part: str, name: str) -> bool:
    if name.split(".", maxsplit=1)[0] == part:
        return True
    if (
        name.split(".", maxsplit=1)[0] == "flow"
    ):  # the convention is flow's own door, not its layers
        return name in ALLOWED[part]
    return name in ALLOWED[part] or name.split(".", maxsplit=1)[0] in ALLOWED[part]


def test_every_part_of_the_house_has_a_rule() -> None:
    assert {part for _, part in modules()} <= ALLOWED.keys() | UNBOUND


@pytest.mark.parametrize(
    ("path", "part"), [pytest.param(p, q, id=str(p.relative_to(ROOT))) for p, q in modules()]
)
def test_imports_follow_the_architecture(path: Path, part: str) -> None:
    if part in UNBOUND:
        return

    refused = [name for name in imports_of(path) if not is_allowed(part, name)]

    assert not refused, f"{part} must not import {refused}"


def test_the_rule_refuses_what_it_should() -> None:
    assert not is_allowed("flow", "values")
    assert not is_allowed("grading", "flow.retry")
    assert not is_allowed("grading", "backends.bedrock")
    assert not is_allowed("simulator", "errors")
    assert is_allowed("grading", "flow")
    assert not is_allowed("http", "backends")
    assert is_allowed("backends", "http.transport")
