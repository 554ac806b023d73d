"""The pages about Lambda name settings, parameters and options that exist, and are all reached."""

import re
from pathlib import Path

import pytest

from judge_service.cli import main
from judge_service.packaging.trainers import SERVICES
from judge_service.settings import NOT_SETTINGS, keys
from tests.lambda_adapter.test_template import ALARMS, DOCUMENT

FOLDER = Path(__file__).parents[2] / "docs" / "lambda"
PAGES = sorted(FOLDER.glob("*.md"))
KEYS = {key.name for key in keys()}
SECTIONS = {name.split(".")[0] for name in KEYS if "." in name}
CALLERS = {"bedrock-rft", "sagemaker-training-job", "hyperpod", "serverless", "evaluation"}

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def test_there_is_a_page_for_each_caller_and_the_index_leads_to_it() -> None:
    index = (FOLDER / "index.md").read_text()

    assert {page.stem for page in PAGES} == CALLERS | {"index"}
    assert all(f"({name}.md)" in index for name in CALLERS)


@every_page
def test_the_settings_it_names_exist(page: Path) -> None:
    text = page.read_text()
    variables = set(re.findall(r"\bJUDGE_[A-Z_]+\b", text))
    dotted = set(re.findall(r"`([a-z]+\.[a-z_]+)\b[^`]*`", text))

    assert variables <= {key.variable for key in keys()} | NOT_SETTINGS
    assert {name for name in dotted if name.split(".")[0] in SECTIONS} <= KEYS


@every_page
def test_the_templates_parameters_it_names_exist(page: Path) -> None:
    text = page.read_text()
    set_to = set(re.findall(r"\b([A-Z][a-z]\w+)=", text))
    in_table = set(re.findall(r"^\| (?:`\w+`, )?`([A-Z]\w+)`", text, re.MULTILINE))

    assert set_to <= DOCUMENT["Parameters"].keys()
    assert in_table <= DOCUMENT["Parameters"].keys() | DOCUMENT["Resources"].keys()


def test_the_index_says_what_to_do_about_every_alarm() -> None:
    index = (FOLDER / "index.md").read_text()

    assert set(re.findall(r"^\| `(\w+Alarm)`", index, re.MULTILINE)) == ALARMS


@every_page
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", sorted(CALLERS))
def test_a_callers_page_says_what_to_paste_who_may_call_and_how_often_at_once(page: str) -> None:
    text = (FOLDER / f"{page}.md").read_text()

    assert "arn:aws:lambda:us-east-1:123456789012:function:SageMaker-judge" in text
    assert {"## Concurrency", "## Gotchas"} <= set(text.splitlines())
    assert re.search(rf"--trainer ({'|'.join(SERVICES)})\b", text)


def test_the_commands_for_roles_run(capsys: pytest.CaptureFixture[str]) -> None:
    text = "".join(page.read_text() for page in PAGES)
    commands = set(re.findall(r"judge (package policy --trainer [^`\n]+)", text))

    assert commands
    for command in commands:
        assert main(command.split()) == 0
