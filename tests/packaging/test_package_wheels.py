"""Wheels: fetched once by pip, checked at every use, and one sentence when it goes wrong."""

import hashlib
from pathlib import Path

import pytest

from judge_service.errors import JudgeServiceError
from judge_service.packaging.pins import Pin
from judge_service.packaging.target import Target
from judge_service.packaging.wheels import default_cache, fetch

TARGET = Target(python="3.13", architecture="arm64")


@pytest.fixture(autouse=True)
def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "/dev/null")


def keep(cache: Path, name: str, content: bytes = b"PK") -> str:
    """Puts a wheel where an earlier build would have kept it; gives its hash."""
    kept = cache / "3.13-arm64"
    kept.mkdir(parents=True, exist_ok=True)
    (kept / name).write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def test_a_kept_wheel_needs_no_pip(tmp_path: Path) -> None:
    digest = keep(tmp_path, "msgspec-0.22.0-cp313-cp313-manylinux2014_aarch64.whl")

    (wheel,) = fetch([Pin("msgspec", "0.22.0", frozenset({digest}))], TARGET, tmp_path)

    assert wheel.name.startswith("msgspec-0.22.0")


def test_a_wheel_that_the_lock_does_not_name_is_refused_and_thrown_away(tmp_path: Path) -> None:
    keep(tmp_path, "msgspec-0.22.0-cp313-cp313-manylinux2014_aarch64.whl", b"PK other")
    pin = Pin("msgspec", "0.22.0", frozenset({"0" * 64}))

    with pytest.raises(JudgeServiceError, match=r"requirements\.lock does not name"):
        fetch([pin], TARGET, tmp_path)
    assert not list(tmp_path.rglob("*.whl"))


def test_without_an_index_the_failure_is_one_sentence_that_names_what_was_wanted(
    tmp_path: Path,
) -> None:
    with pytest.raises(JudgeServiceError) as caught:
        fetch([Pin("msgspec", "0.22.0")], TARGET, tmp_path)

    assert str(caught.value).startswith(
        "pip could not fetch msgspec==0.22.0 for Python 3.13 on arm64 (ERROR: "
    )
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.whl"))


def test_a_wheel_of_another_version_is_not_taken_for_it(tmp_path: Path) -> None:
    keep(tmp_path, "msgspec-0.22.0.post1-cp313-cp313-manylinux2014_aarch64.whl")

    with pytest.raises(JudgeServiceError, match="pip could not fetch"):
        fetch([Pin("msgspec", "0.22.0")], TARGET, tmp_path)


@pytest.mark.parametrize(
    ("environ", "where"),
    [({"XDG_CACHE_HOME": "/c"}, Path("/c")), ({}, Path.home() / ".cache")],
    ids=["named", "by default"],
)
def test_wheels_are_kept_where_caches_belong(environ: dict[str, str], where: Path) -> None:
    assert default_cache(environ) == where / "judge-service" / "wheels"
