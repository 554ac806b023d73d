"""`judge package` at the command line."""

import json
from pathlib import Path

import pytest

from judge_service.cli import main, package
from tests.packaging import built

CONFIG = str(built.CONFIG)


def test_it_says_size_and_import_time(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    done = built.package()
    monkeypatch.setattr(package, "build", lambda *_, **__: done)

    assert main(["package", "lambda", "--config", CONFIG]) == 0

    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert f"{done.path.stat().st_size / 1e6:.2f} MB packed" in lines["size"]
    assert " ms, on this machine, CPython 3." in lines["import"]
    assert "sha256 as in requirements.lock" in lines["packages"]
    assert lines["handler"].endswith("lambda_adapter.handler.lambda_handler")


def test_a_layer_for_another_machine_is_built_as_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    built.package()  # skips where there is no index
    monkeypatch.setattr(package, "default_cache", lambda: built.WHEELS)
    archive = tmp_path / "layer.zip"
    target = ["--arch", "arm64", "--python", "3.13"]

    assert main(["package", "layer", *target, "-o", str(archive), "--json"]) == 0

    printed = capsys.readouterr()
    assert "has no settings (no --config)" in printed.err
    said = json.loads(printed.out)
    assert (said["path"], said["kind"]) == (str(archive), "layer")
    assert said["target"] == {"python": "3.13", "architecture": "arm64"}
    assert said["packed_bytes"] == archive.stat().st_size
    assert said["cold_start"]["import_s"] is None


def test_passwords_that_a_package_would_hold_are_named_and_not_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "judge.toml"
    config.write_text(
        'backend = "openai"\nmodel = "m"\n[http]\nproxy_url = "http://me:s3cret@proxy:3128"\n'
        '[cache]\nredis_url = "redis://:s3cret@cache:6379/0"\n[openai]\nbase_url = "http://h/v1"\n'
    )
    done = built.package()
    monkeypatch.setattr(package, "build", lambda *_, **__: done)

    assert main(["package", "lambda", "--config", str(config)]) == 0

    said = capsys.readouterr()
    assert "`http.proxy_url`, `cache.redis_url`" in said.err
    assert "base_url" not in said.err
    assert "s3cret" not in said.err + said.out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lambda", "--config", "none.toml"], "none.toml: there is no such file"),
        (["policy", "--region", "*"], "--region: `*` is not the name of an AWS region"),
        (["policy", "--account", "1"], "--account: `1` is not 12 digits"),
        (["policy", "--trainer", "hyperpod", "--function", "judge"], "must contain `SageMaker`"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["package", *arguments]) == 2

    said = capsys.readouterr()
    assert sentence in said.err
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_the_policy_is_json_for_iam(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JUDGE_CONFIG", "s3://judges/judge.toml")
    place = ["--region", "us-east-1", "--region", "ca-central-1", "--account", "123456789012"]

    assert main(["package", "policy", "--config", CONFIG, *place]) == 0

    said = capsys.readouterr()
    text = said.out
    assert "${" not in text
    assert said.err == ""
    assert json.loads(text)["Version"] == "2012-10-17"
    assert '"arn:aws:s3:::judges/judge.toml"' in text
    assert '"arn:aws:bedrock:ca-central-1::foundation-model/amazon.nova-lite-v1:0"' in text


def test_a_policy_that_only_cloudformation_can_use_says_so(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["package", "policy", "--config", CONFIG]) == 0

    said = capsys.readouterr()
    assert "${AWS::AccountId}" in said.out
    assert "give --account and --region" in said.err


def test_a_trainers_role_needs_no_settings(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "policy", "--trainer", "bedrock"]) == 0

    assert json.loads(capsys.readouterr().out).keys() == {"TrustPolicy", "PermissionPolicy"}


def test_the_running_python_is_taken_where_lambda_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "PYTHONS", (built.PYTHON,))
    assert package._python() == built.PYTHON
    monkeypatch.setattr(package, "PYTHONS", ("3.99",))
    assert package._python() == "3.13"
