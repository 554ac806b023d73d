"""The commands other than `score`, and the options of all commands."""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from judge_service.cli import COMMANDS, EXIT_CODES, check, explain, main
from judge_service.cli.simulate import read_config
from judge_service.configuration import Configured
from judge_service.errors import CredentialsError, RubricError, SettingsError
from judge_service.settings import LimitSettings, Settings
from judge_service.simulator import Spell
from judge_service.throughput import expect
from tests.cli.conftest import FakeJudge


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' own environment sets nothing."""
    monkeypatch.delenv("JUDGE_CONFIG", raising=False)


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> FakeJudge:
    fake = FakeJudge(lambda _sample: 0.5)
    monkeypatch.setattr(check, "_open_service", fake.open)
    return fake


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main([command, "--help"])

    said = capsys.readouterr().out
    assert ended.value.code == 0
    assert f"judge {command} " in said.partition("examples:")[2]
    assert EXIT_CODES in said


def test_the_version_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])

    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith("judge 0.")


def test_an_unknown_command_exits_with_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["judge"])

    assert ended.value.code == 2


def test_the_command_line_imports_nothing_heavy() -> None:
    heavy = ("rich", "numpy", "onnxruntime", "aioboto3", "botocore", "judge_service.service")
    probe = f"import sys, judge_service.cli; print([n for n in {heavy!r} if n in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", probe], check=True, capture_output=True, text=True
    ).stdout

    assert output.strip() == "[]"


def test_check_passes_every_area(judge: FakeJudge, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["ok", "settings"],
        ["ok", "rubric"],
        ["ok", "judge"],
        ["ok", "sample"],
        ["ok", "quota"],
    ]


def test_check_names_each_problem(judge: FakeJudge, capsys: pytest.CaptureFixture[str]) -> None:
    judge.problems = ["no credentials", "no model access"]

    assert main(["check", "--json"]) == 2

    said = json.loads(capsys.readouterr().out)
    assert not said["ok"]
    problems = [one["text"] for one in said["findings"] if one["level"] == "problem"]
    assert problems == ["no credentials", "no model access"]


@pytest.mark.parametrize(
    ("raised", "area"),
    [
        (RubricError("r.toml: no criteria"), "rubric"),
        (SettingsError("backend is not installed"), "judge"),
        (CredentialsError("none found"), "judge"),
    ],
)
def test_check_says_what_keeps_the_service_from_opening(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    raised: Exception,
    area: str,
) -> None:
    def refuse(_settings: Any, _sink: Any) -> Any:
        raise raised

    monkeypatch.setattr(check, "_open_service", refuse)

    assert main(["check"]) == 2
    assert f"problem  {area:<9} {raised}" in capsys.readouterr().out


def test_check_refuses_bad_settings(
    judge: FakeJudge, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("JUDGE_MODLE", "m")

    assert main(["check"]) == 2
    assert "did you mean `JUDGE_MODEL`" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({}, "no quota is set under [limits]"),
        ({"REQUESTS_PER_MINUTE": "600"}, "ok       quota     10.0 evaluations/s"),
        (
            {"REQUESTS_PER_MINUTE": "600", "TOKENS_PER_MINUTE": "60000"},
            "2.0 evaluations/s at 1 call(s) of 490 + 10 tokens each, limited by limits.tokens_per_minute",
        ),
    ],
)
def test_check_says_what_throughput_to_expect(
    judge: FakeJudge,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    limits: dict[str, str],
    said: str,
) -> None:
    monkeypatch.setenv("JUDGE_BACKEND", "bedrock")
    monkeypatch.setenv("JUDGE_MODEL", "m")
    for name, value in limits.items():
        monkeypatch.setenv(f"JUDGE_LIMITS_{name}", value)

    assert main(["check"]) == 0
    assert said in capsys.readouterr().out


def test_explain_reads_top_down(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def stacks(_settings: Any, text_tokens: int) -> tuple[explain.Stacks, Any]:
        shown = [("per sample", ["Grader(x)"]), ("per prompt", ["Deadline()", "Cache(9)"])]
        limits = LimitSettings(requests_per_minute=6000, max_in_flight=200)
        return shown, expect(limits, input_tokens=text_tokens, output_tokens=10)

    monkeypatch.setattr(explain, "_explain", stacks)

    assert main(["explain"]) == 0
    assert capsys.readouterr().out == (
        "per sample\n  Grader(x)\n\nper prompt\n  Deadline()\n  Cache(9)\n\n"
        "expected (steady, in the long run)\n"
        "  100.0 evaluations/s at 1 call(s) of 300 + 10 tokens each,"
        " limited by limits.requests_per_minute\n"
        "  limits.requests_per_minute allows 100.0 evaluations/s\n"
        "  limits.max_in_flight = 200 limits instead when a call takes longer than 2.00 s\n"
    )
    assert main(["explain", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)["stacks"]
    assert shown[1] == {"name": "per prompt", "layers": ["Deadline()", "Cache(9)"]}


def test_explain_says_that_workers_share_a_quota(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"LIMITS_REQUESTS_PER_MINUTE": "600", "SERVICE_WORKERS": "4"}.items():
        monkeypatch.setenv(f"JUDGE_{name}", value)

    assert main(["explain"]) == 0
    assert "service\n  4 workers share the quota through a file\n" in capsys.readouterr().out


def test_explain_names_the_store_of_a_shared_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "quota"
    limits = {"REQUESTS_PER_MINUTE": "600", "STORE": "file", "STORE_URL": str(path)}
    for name, value in limits.items():
        monkeypatch.setenv(f"JUDGE_LIMITS_{name}", value)

    assert main(["explain"]) == 0
    assert f"through FileStore({path})" in capsys.readouterr().out


def test_a_quotas_file_that_cannot_be_opened_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "missing" / "quota"
    limits = {"REQUESTS_PER_MINUTE": "600", "STORE": "file", "STORE_URL": str(path)}
    for name, value in limits.items():
        monkeypatch.setenv(f"JUDGE_LIMITS_{name}", value)

    assert main(["explain"]) == 2
    assert f"the file {path} cannot be opened" in capsys.readouterr().err


def simulate_arguments(**given: str | bool | list[str]) -> argparse.Namespace:
    from judge_service.cli.simulate import _fields

    return argparse.Namespace(**{field.name: given.get(field.name) for field in _fields()})


def test_simulator_flags_become_its_configuration() -> None:
    config = read_config(
        simulate_arguments(
            throttle_rate="0.05",
            seed="7",
            requests_per_minute="60",
            refuses_tool=True,
            spells=["throttle,at_s=20,for_s=60", "tenant,value=0.7"],
        )
    )

    assert config.spells == (Spell("throttle", at_s=20, for_s=60), Spell("tenant", value=0.7))
    assert (config.throttle_rate, config.seed, config.requests_per_minute) == (0.05, 7, 60)
    assert config.refuses_tool
    assert not config.refuses_schema


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"throttle_rate": "2"}, "throttle_rate is 2"),
        ({"seed": "x"}, "seed"),
        ({"refill": "x"}, "refill"),
        ({"spells": ["tornado"]}, "tornado"),
        ({"spells": ["throttle,for_s"]}, "for_s"),
        ({"spells": ["throttle,lasts_s=3"]}, "lasts_s"),
        ({"spells": ["tenant,value=1"]}, "value is 1.0"),
    ],
)
def test_a_wrong_simulator_flag_is_named(given: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_config(simulate_arguments(**given))


def test_settings_are_fetched_from_where_config_says(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """From S3, as the function does; `tests/configuration` has what else there is to it."""
    asked: list[str] = []

    async def read(place: str, _environ: object, _places: object) -> Configured:
        asked.append(place)
        return Configured(Settings(max_reasks=3), place, is_remote=True)

    monkeypatch.setattr("judge_service.configuration.read_configuration", read)

    assert main(["check", "--config", "s3://bucket/judge.toml"]) == 0
    assert asked == ["s3://bucket/judge.toml"]
    assert "from s3://bucket/judge.toml" in capsys.readouterr().out


def test_a_package_is_built_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["package", "lambda", "--config", "s3://bucket/judge.toml"]) == 2
    assert "this command needs a file" in capsys.readouterr().err


def test_explain_shows_no_password(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "http://me:s3cret@127.0.0.1:9"
    (config := tmp_path / "judge.toml").write_text(
        f'backend = "openai"\nmodel = "m"\n[openai]\nbase_url = "{url}/v1"\n[http]\nproxy_url = "{url}"\n'
    )
    monkeypatch.setenv("JUDGE_CACHE_REDIS_URL", "redis://:s3cret@127.0.0.1:9/0")

    assert main(["explain", "--config", str(config)]) == 0

    page = capsys.readouterr().out
    assert "http://***@127.0.0.1:9/v1" in page
    assert "s3cret" not in page
