"""The public surface: small, sorted, importable, documented, and cheap to import."""

import json
import subprocess
import sys
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

import judge_service
from judge_service.backends.scripted import Scripted

HEAVY = ("boto3", "botocore", "aioboto3", "aiohttp", "numpy", "onnxruntime", "rich", "sqlite3")


def test_the_names_are_sorted_and_at_most_fifteen() -> None:
    assert judge_service.__all__ == sorted(judge_service.__all__, key=str)
    assert len(judge_service.__all__) <= 15


def test_every_name_is_there_and_documented() -> None:
    missing = [name for name in judge_service.__all__ if not getattr(judge_service, name).__doc__]

    assert not missing


def test_nothing_else_is_there() -> None:
    assert dir(judge_service) == judge_service.__all__


def imported_by(statement: str) -> tuple[list[str], float]:
    """What a statement drags in, and the milliseconds of CPU that it takes in a fresh interpreter."""
    probe = (
        "import json, sys, time; before = time.process_time(); "
        f"{statement}; spent = time.process_time() - before; "
        f"print(json.dumps([[n for n in {HEAVY!r} if n in sys.modules], spent * 1000]))"
    )
    output = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True
    ).stdout
    heavy, milliseconds = json.loads(output)
    return heavy, milliseconds


def test_importing_the_package_imports_nothing_heavy() -> None:
    heavy, milliseconds = imported_by("import judge_service")

    assert heavy == []
    assert milliseconds < 20  # measured 1 ms


def test_importing_the_lambda_handler_imports_nothing_heavy() -> None:
    heavy, milliseconds = imported_by("import lambda_adapter.handler")

    assert heavy == []
    assert milliseconds < 600  # measured 150 ms; a cold start pays it


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("judge_service.backends.scripted", "Scripted"),
        ("judge_service.collector", "settle_collector"),
        ("judge_service.flow", "Request"),
        ("judge_service.service", "open_service"),
        ("judge_service.settings", "load_settings"),
        ("judge_service.simulator", "simulate"),
        ("judge_service.telemetry.events", "Sink"),
        ("judge_service.testing", "run_virtual"),
        ("lambda_adapter.handler", "lambda_handler"),
        ("lambda_adapter.rollout_queue", "answer_queue"),
        ("judge_service.verifiers.sandbox_wasi", "__doc__"),
    ],
)
def test_what_is_imported_elsewhere_is_where_it_was(module: str, name: str) -> None:
    """Names of documents, of examples and of handlers; those that moved have an alias for a version."""
    assert hasattr(import_module(module), name)


@pytest.mark.parametrize("package", ["judge_service", "lambda_adapter"])
def test_a_type_checker_reads_our_types(package: str) -> None:
    assert (files(package) / "py.typed").is_file()  # without it an import fails a strict mypy


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"response": 5}, "Sample.response: must be text or None, not int"),
        ({"reference": ["four"]}, "Sample.reference: must be text or None, not list"),
        ({"messages": [{"role": "user"}]}, r"Sample.messages\[0\]: must be a Message, not dict"),
    ],
)
def test_a_sample_with_a_field_of_another_type_is_refused_where_it_is_made(
    fields: dict[str, Any], says: str
) -> None:
    with pytest.raises(TypeError, match=says):
        judge_service.Sample(**fields)


async def test_a_row_in_the_place_of_a_sample_is_refused_before_a_call() -> None:
    judge_model = Scripted("0.5")
    good, row = judge_service.Sample(response="4", reference="4"), {"response": "4"}
    async with judge_service.open_service(model=judge_model) as judge:
        for batch in ([row], [good, row]):
            with pytest.raises(TypeError, match=r"must be a judge_service\.Sample, not dict"):
                await judge.score(batch)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"must be a judge_service\.Sample, not dict"):
            [_ async for _ in judge.stream([(1, row)])]  # type: ignore[arg-type]
    assert judge_model.prompts == []


def test_settings_are_read_from_a_path_given_as_text(tmp_path: Path) -> None:
    (tmp_path / "judge.toml").write_text("max_reasks = 3")

    assert judge_service.load_settings(str(tmp_path / "judge.toml")).max_reasks == 3
