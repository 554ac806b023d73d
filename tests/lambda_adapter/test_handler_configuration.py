"""The function configured without code: from its package, a layer, S3 and the parameter store."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from judge_service.backends.embedded import judge as embedded
from judge_service.errors import SettingsError
from lambda_adapter import environment as environment_module
from lambda_adapter.environment import Environment, place_of
from tests.configuration.conftest import Aws, aws, environ, moto_url  # noqa: F401 - fixtures
from tests.lambda_adapter.test_handler import row
from tests.lambda_adapter.validator import assert_valid

OVERLAP = """
name = "overlap"
[[criteria]]
name = "near"
kind = "verify"
verify = "overlap"
options = { measure = "chrf" }
"""
GRADER = "def low(sample):\n    return 0.25\n\n\ndef high(sample):\n    return 0.75\n"


@pytest.fixture
def graders(tmp_path: Path) -> str:
    (path := tmp_path / "graders.py").write_text(GRADER)
    return str(path)


Open = Callable[[dict[str, str]], Environment]


@pytest.fixture
def open_with() -> Iterator[Open]:
    made: list[Environment] = []

    def make(variables: dict[str, str]) -> Environment:
        made.append(Environment(environ={"JUDGE_LOGS_ENABLED": "false", **variables}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def score_of(environment: Environment) -> Any:
    reply = environment.answer([row(1)])
    assert_valid([row(1)], reply)
    return reply[0]["aggregate_reward_score"]


def test_the_named_place_goes_before_the_package_and_that_before_a_layer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package, layer = tmp_path / "task", tmp_path / "opt"
    package.mkdir()
    layer.mkdir()
    monkeypatch.setattr(environment_module, "LAYER", layer)
    root = {"LAMBDA_TASK_ROOT": str(package)}

    assert place_of(root) is None
    (layer / "judge.toml").touch()
    assert place_of(root) == str(layer / "judge.toml")
    (package / "judge.toml").touch()
    assert place_of(root) == str(package / "judge.toml")
    assert place_of({**root, "JUDGE_CONFIG": "s3://b/k"}) == "s3://b/k"
    assert place_of({}) is None  # outside of Lambda no file is taken that merely lies about


def test_settings_in_the_package_are_used(tmp_path: Path, graders: str, open_with: Open) -> None:
    (tmp_path / "judge.toml").write_text(f'grader = "{graders}:low"\n')

    assert score_of(open_with({"LAMBDA_TASK_ROOT": str(tmp_path)})) == 0.25


def test_without_settings_and_model_no_reward_is_given_by_character_overlap(
    tmp_path: Path, open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "missing_packages", lambda: ["onnxruntime"])  # as in the zip
    (tmp_path / "judge.toml").touch()

    for variables in ({}, {"LAMBDA_TASK_ROOT": str(tmp_path)}):
        with pytest.raises(SettingsError, match="set `backend` and `model`"):
            open_with(variables).answer([row(1)])


def test_a_rubric_that_names_the_measure_needs_no_model(
    open_with: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "missing_packages", lambda: ["onnxruntime"])

    assert 0 <= score_of(open_with({"JUDGE_RUBRIC": OVERLAP})) <= 1


@pytest.mark.parametrize("kind", ["s3", "ssm"])
def test_a_changed_configuration_replaces_the_old_one_and_a_bad_one_does_not(
    kind: str,
    aws: Aws,  # noqa: F811 - fixture
    environ: dict[str, str],  # noqa: F811 - fixture
    graders: str,
    open_with: Open,
) -> None:
    def write(text: str) -> str:
        return aws.put("live/judge.toml", text) if kind == "s3" else aws.store("/live/judge", text)

    place = write(f'grader = "{graders}:low"\n')
    environment = open_with({**environ, "JUDGE_CONFIG": place, "JUDGE_CONFIG_TTL_S": "1"})
    assert score_of(environment) == 0.25

    write(f'grader = "{graders}:nobody"\n')
    make_due(environment)
    assert [score_of(environment) for _ in range(3)] == [0.25] * 3
    wait_for(lambda: statistics(environment).refused == 1)
    assert score_of(environment) == 0.25

    write(f'grader = "{graders}:high"\n')
    make_due(environment)
    score_of(environment)
    wait_for(lambda: statistics(environment).opened == 2)
    assert score_of(environment) == 0.75
    wait_for(lambda: statistics(environment).closing == 0)


def statistics(environment: Environment) -> Any:
    assert environment._renewal is not None
    return environment._renewal.statistics()


def make_due(environment: Environment) -> None:
    """As if the time to live were over."""
    assert environment._renewal is not None
    environment._renewal._read_at_s = 0.0


def wait_for(true: Callable[[], bool]) -> None:
    until = time.monotonic() + 5
    while not true():
        assert time.monotonic() < until
        time.sleep(0.005)


def test_what_is_wrong_at_the_start_is_told_at_every_invocation(
    aws: Aws,  # noqa: F811 - fixture
    environ: dict[str, str],  # noqa: F811 - fixture
    open_with: Open,
) -> None:
    place = f"s3://{aws.bucket}/not-yet.toml"
    environment = open_with({**environ, "JUDGE_CONFIG": place})
    for _ in range(2):
        with pytest.raises(SettingsError, match=r"not-yet.toml: does not exist"):
            environment.answer([row(1)])

    aws.put("not-yet.toml", "max_reasks = 0\n")

    assert_valid([row(1)], environment.answer([row(1)]))
