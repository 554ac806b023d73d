"""The zip contains the right packages in their pinned versions."""

import re
import tomllib
from pathlib import Path

import pytest

from judge_service.errors import SettingsError
from judge_service.packaging.pins import LOCK, NEEDED, Pin, pins
from judge_service.settings import BedrockSettings, CacheSettings, LimitSettings, Settings

ON_TERMINALS = {"rich"}


def test_the_function_has_every_dependency_of_ours_but_the_one_for_terminals() -> None:
    project = tomllib.loads((LOCK.parent / "pyproject.toml").read_text())["project"]
    names = {re.split(r"[<>=]", line)[0] for line in project["dependencies"]}

    assert set(NEEDED) == names - ON_TERMINALS


def test_versions_and_hashes_are_those_of_the_lock() -> None:
    lock = LOCK.read_text()

    for pin in pins(Settings()):
        assert f"\n{pin.name}=={pin.version} \\\n" in lock
        assert pin.hashes
        assert all(f"--hash=sha256:{digest}" in lock for digest in pin.hashes)


def test_without_a_lock_the_installed_versions_are_taken_and_no_hash_is_claimed(
    tmp_path: Path,
) -> None:
    found = pins(Settings(), tmp_path / "none")

    assert [pin.name for pin in found] == sorted(NEEDED)
    assert all(pin.version[0].isdigit() for pin in found)
    assert not any(pin.hashes for pin in found)


@pytest.mark.parametrize(
    "settings",
    [
        Settings(limits=LimitSettings(store="redis", store_url="redis://r:6379/0")),
        Settings(cache=CacheSettings(redis_url="redis://r:6379/0")),
    ],
    ids=["quota", "cache"],
)
def test_redis_goes_in_where_the_settings_want_it(settings: Settings) -> None:
    assert "redis" in [pin.name for pin in pins(settings)]
    assert "redis" not in [pin.name for pin in pins(Settings())]


@pytest.mark.parametrize(
    ("bedrock", "key"),
    [
        (BedrockSettings(transport="aioboto3"), "bedrock.transport"),
        (BedrockSettings(profile="dev"), "bedrock.profile"),
    ],
)
def test_settings_that_need_boto_are_refused(bedrock: BedrockSettings, key: str) -> None:
    settings = Settings(backend="bedrock", model="amazon.nova-lite-v1:0", bedrock=bedrock)

    with pytest.raises(SettingsError, match=f"`{key}` needs aioboto3"):
        pins(settings)


def test_a_pin_reads_as_pip_wants_it() -> None:
    assert str(Pin("msgspec", "0.22.0")) == "msgspec==0.22.0"
