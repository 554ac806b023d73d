"""The public surface: small, sorted, importable, documented, and cheap to import."""

import json
import subprocess
import sys
from importlib import import_module

import pytest

import judge_service

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
