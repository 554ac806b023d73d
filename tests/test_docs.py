"""Documentation that repeats code or measurements is generated, so it cannot be wrong for long."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest

from judge_service import settings
from judge_service.cli import main

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_generated_pages_are_current(generate: ModuleType) -> None:
    stale = [path.name for path, text in generate.pages().items() if path.read_text() != text]

    assert not stale, "run `make docs`"


def test_every_setting_is_documented_with_its_default_and_variable() -> None:
    page = (ROOT / "docs" / "settings.md").read_text()

    for key in settings.keys():  # noqa: SIM118 - a function of ours, no dict
        assert f"| `{key.name}` |" in page
        assert f"`{key.variable}`" in page


def test_every_link_between_documents_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    dead = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
        if not (page.parent / target).exists()
    ]

    assert not dead


def test_every_make_target_named_in_the_documents_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"`make ([a-z-]+)", page.read_text())}

    assert named <= targets


def test_the_readme_shows_what_really_comes_out(tmp_path: Path) -> None:
    """The example rollout and its reward, and the library example, as printed in the README."""
    readme = (ROOT / "README.md").read_text()
    rollout, expected = re.findall(r"```json\n(.*?)\n```", readme, re.DOTALL)
    (source := tmp_path / "in.jsonl").write_text(rollout + "\n")

    assert main(["score", str(source), "-o", str(tmp_path / "out.jsonl"), "--quiet"]) == 0

    shown, came = json.loads(expected), json.loads((tmp_path / "out.jsonl").read_text())
    assert came["aggregate_reward_score"] == pytest.approx(
        shown["aggregate_reward_score"], abs=0.02
    )
    assert [m["name"] for m in came["metrics_list"]] == [m["name"] for m in shown["metrics_list"]]


def test_the_readmes_library_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    [example] = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)

    exec(compile(example, "README.md", "exec"), {})

    score, reason = capsys.readouterr().out.split()
    assert 0.0 <= float(score) <= 1.0
    assert reason == "None"


def test_the_queries_of_log_insights_bin_only_times() -> None:
    """CloudWatch refuses `bin` of a number; the template has the form that it takes."""
    pages = [ROOT / "docs" / "metrics.md", ROOT / "lambda_adapter" / "template.yaml"]
    binned = [one for page in pages for one in re.findall(r"\bbin\(([^)]+)\)", page.read_text())]

    assert binned
    assert [one for one in binned if not re.fullmatch(r"\d+[smhd]", one)] == []
