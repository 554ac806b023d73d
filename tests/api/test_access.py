import hashlib
from pathlib import Path
from typing import Any

import pytest

from judge_service.api import create_app
from judge_service.api.access import Caller, Keys, new_key, read_keys
from judge_service.backends.scripted import Scripted
from judge_service.cli import main
from judge_service.errors import SettingsError
from tests.api.conftest import quiet, row


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.fixture
def team(tmp_path: Path) -> Any:
    """A key of `team`, one of the suspended `late`, and the file they are in."""
    key, table = new_key("team", share=0.5, lane="bulk")
    late, suspended = new_key("late", share=0.0)
    (file := tmp_path / "keys.toml").write_text(table + suspended)
    return key, late, file


@pytest.fixture
def app(team: Any) -> Any:
    """Made outside of the loop, because it reads the file."""
    return create_app(quiet(api_keys_file=str(team[2])), environ={}, model=Scripted(0.5))


@pytest.mark.parametrize("path", ["/v1/rewards", "/invocations"])
async def test_without_a_key_there_is_no_judging(service: Any, path: str) -> None:
    answer = await service.post(path, {"samples": [row()]})

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_an_unknown_key_is_refused_and_not_repeated(service: Any) -> None:
    answer = await service.post("/v1/rewards", {"samples": [row()]}, headers=bearer("jk_wrong"))

    assert answer.status_code == 401
    assert "jk_wrong" not in answer.text


async def test_a_key_opens_the_service_in_either_header(service: Any, team: Any) -> None:
    body = {"samples": [row()]}

    as_bearer = await service.post("/v1/rewards", body, headers=bearer(team[0]))
    as_header = await service.post("/v1/rewards", body, headers={"x-api-key": team[0]})

    assert (as_bearer.status_code, as_header.status_code) == (200, 200)


async def test_a_suspended_tenant_is_told_so(service: Any, team: Any) -> None:
    answer = await service.post("/v1/rewards", {"samples": [row()]}, headers=bearer(team[1]))

    assert answer.status_code == 403
    assert answer.json()["error"]["code"] == "suspended"


@pytest.mark.parametrize("path", ["/ping", "/healthz/live", "/healthz/ready"])
async def test_health_needs_no_key(service: Any, path: str) -> None:
    assert (await service.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/metrics", "/openapi.json", "/dashboard", "/nowhere"])
async def test_everything_else_does(service: Any, path: str) -> None:
    assert (await service.get(path)).status_code == 401


async def test_the_tenant_and_its_lane_reach_the_judge(
    service: Any, team: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Any] = {}
    judge = service.app.state.judge
    score = judge.score

    async def watched(samples: Any, **how: Any) -> Any:
        seen.update(how)
        return await score(samples, **how)

    monkeypatch.setattr(judge, "score", watched)
    await service.post("/v1/rewards", {"samples": [row()]}, headers=bearer(team[0]))

    assert (seen["lane"], seen["job"]) == ("bulk", "team")


def test_the_file_holds_no_key_that_could_be_used(team: Any) -> None:
    key, _, file = team

    assert key not in file.read_text()
    assert hashlib.sha256(key.encode()).hexdigest() in file.read_text()


def test_a_tenant_has_two_live_keys_at_most(tmp_path: Path) -> None:
    tables = [new_key("team")[1] for _ in range(3)]
    (file := tmp_path / "keys.toml").write_text("".join(tables[:2]))
    assert "2 of 1 tenants" in repr(read_keys(file))

    file.write_text("".join(tables))
    with pytest.raises(SettingsError, match="team has 3 keys"):
        read_keys(file)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "missing required field"),
        ("keys = []", "has no keys"),
        ("not toml", "keys.toml"),
        ('[[keys]]\ntenant = "a"\nsha256 = "short"', "sha256"),
        ('[[keys]]\ntenant = "a"\nkey = "plain"', "unknown field"),
        (f'[[keys]]\ntenant = "a"\nsha256 = "{"0" * 64}"\nshare = 2', "share"),
        (f'[[keys]]\ntenant = "a"\nsha256 = "{"0" * 64}"\nlane = "fast"', "lane"),
    ],
)
def test_a_broken_file_is_named_with_its_problem(tmp_path: Path, text: str, problem: str) -> None:
    (file := tmp_path / "keys.toml").write_text(text)

    with pytest.raises(SettingsError, match=problem) as caught:
        read_keys(file)

    assert "service.api_keys_file" in str(caught.value)


def test_a_missing_file_stops_the_service_from_starting(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read"):
        create_app(quiet(api_keys_file=str(tmp_path / "none.toml")), environ={})


def test_judge_keys_prints_a_key_that_its_table_accepts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["keys", "new", 'te"am', "--share", "0.25", "--lane", "interactive"]) == 0

    shown = capsys.readouterr()
    key = shown.err.split()[-1]
    (file := tmp_path / "keys.toml").write_text(shown.out)
    caller = read_keys(file).caller([(b"x-api-key", key.encode())])
    assert caller == Caller(tenant='te"am', share=0.25, lane="interactive")


def test_a_key_for_nobody_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["keys", "new", ""]) == 2
    assert "tenant" in capsys.readouterr().err


def test_keys_say_how_many_they_are_and_nothing_more() -> None:
    assert repr(Keys([])) == "<Keys 0 of 0 tenants>"
