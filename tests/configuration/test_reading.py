"""Settings and rubric from S3, from the parameter store and from files, against moto's server."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from judge_service.configuration import Configured, Places, read_configuration, ttl_s
from judge_service.errors import SettingsError
from judge_service.grading import Rubric, load_rubric
from judge_service.http.reply import Reply
from judge_service.settings import beside
from tests.configuration.conftest import Aws

RUBRIC = """
name = "tone"
[[criteria]]
name = "polite"
description = "Is it polite?"
"""


async def read(place: str | None, environ: dict[str, str]) -> Configured:
    places = Places(environ)
    try:
        return await read_configuration(place, environ, places)
    finally:
        await places.aclose()


async def rubric_of(configured: Configured) -> Rubric:
    return await asyncio.to_thread(load_rubric, configured.settings.rubric)  # reads our templates


async def test_settings_and_a_rubric_beside_them_are_read_from_s3(
    aws: Aws, environ: dict[str, str]
) -> None:
    place = aws.put("team/judge.toml", 'rubric = "tone.toml"\nmax_reasks = 3\n')
    aws.put("team/tone.toml", RUBRIC)

    read_ = await read(place, {**environ, "JUDGE_MAX_REASKS": "0"})

    assert read_.settings.max_reasks == 0  # variables go before the file
    assert (await rubric_of(read_)).criteria[0].name == "polite"
    assert (read_.is_remote, read_.origin.count("s3://")) == (True, 2)


async def test_settings_and_rubric_are_read_from_encrypted_parameters(
    aws: Aws, environ: dict[str, str]
) -> None:
    aws.store("/judge/tone", RUBRIC)
    place = aws.store("/judge/settings", 'rubric = "ssm:/judge/tone"\n')

    read_ = await read(place, environ)

    assert (await rubric_of(read_)).name == "tone"


async def test_a_local_file_may_name_a_remote_rubric(
    aws: Aws, environ: dict[str, str], tmp_path: Path
) -> None:
    (path := tmp_path / "judge.toml").write_text(f'rubric = "{aws.put("tone.toml", RUBRIC)}"\n')

    read_ = await read(str(path), environ)

    assert (await rubric_of(read_)).name == "tone"
    assert read_.is_remote


async def test_files_are_read_as_ever_and_are_not_remote(tmp_path: Path) -> None:
    (path := tmp_path / "judge.toml").write_text('rubric = "tone.toml"\n')

    read_ = await read(str(path), {})

    assert (read_.settings.rubric, read_.is_remote) == (str(tmp_path / "tone.toml"), False)


async def test_equal_texts_are_equal_versions(aws: Aws, environ: dict[str, str]) -> None:
    place = aws.put("same/judge.toml", 'rubric = "tone.toml"\n')
    aws.put("same/tone.toml", RUBRIC)
    first = await read(place, environ)

    assert await read(place, environ) == first

    aws.put("same/tone.toml", RUBRIC.replace("polite?", "very polite?"))
    assert await read(place, environ) != first


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("s3://settings-of-ours/none.toml", r"none.toml: does not exist \(404 NoSuchKey\)"),
        ("s3://no-such-bucket-here/x.toml", r"does not exist \(404 NoSuchBucket\)"),
        ("ssm:/no/such", r"does not exist \(400 ParameterNotFound\)"),
        ("s3://bucket", "write s3://bucket/key"),
        ("no-such-file.toml", "there is no such file"),
    ],
)
async def test_what_is_not_there_is_told_in_one_sentence(
    place: str, says: str, aws: Aws, environ: dict[str, str]
) -> None:
    assert aws.url
    with pytest.raises(SettingsError, match=says) as caught:
        await read(place, environ)

    assert "\n" not in str(caught.value)


async def test_a_denied_read_names_the_missing_permission(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    body = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    answer(monkeypatch, "object", 403, body)
    with pytest.raises(SettingsError, match=r"allow s3:GetObject on arn:aws:s3:::bucket/k"):
        await read("s3://bucket/k", environ)

    answer(monkeypatch, "call", 400, b'{"__type":"AccessDeniedException"}')
    with pytest.raises(SettingsError, match=r"allow ssm:GetParameter on the parameter /judge"):
        await read("ssm:/judge", environ)


async def test_a_bucket_elsewhere_and_a_text_that_is_none_are_told(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    answer(monkeypatch, "object", 301, b"")
    with pytest.raises(SettingsError, match="another region; set AWS_REGION"):
        await read("s3://bucket/k", environ)

    answer(monkeypatch, "object", 200, b"\xff\xfe")
    with pytest.raises(SettingsError, match="is not UTF-8"):
        await read("s3://bucket/k", environ)


async def test_without_a_region_or_credentials_the_sentence_says_what_to_set() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}

    with pytest.raises(SettingsError, match=r"^s3://bucket/k: no AWS region is set"):
        await read("s3://bucket/k", keys)


async def test_a_service_that_is_not_reached_is_told_after_two_attempts(
    environ: dict[str, str],
) -> None:
    nobody = {**environ, "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9"}

    with pytest.raises(SettingsError, match=r"^s3://bucket/k: no answer; check the region"):
        await read("s3://bucket/k", nobody)


def answer(monkeypatch: pytest.MonkeyPatch, method: str, status: int, body: bytes) -> None:
    async def answered(*_: Any, **__: Any) -> Any:
        return Reply(status, {}, body)

    monkeypatch.setattr(f"judge_service.aws.client.AwsClient.{method}", answered)


@pytest.mark.parametrize(
    ("place", "name", "is_at"),
    [
        ("judge.toml", "tone.toml", "tone.toml"),
        ("/opt/judge.toml", "tone.toml", "/opt/tone.toml"),
        ("/opt/judge.toml", "/var/tone.toml", "/var/tone.toml"),
        ("s3://b/judge.toml", "tone.toml", "s3://b/tone.toml"),
        ("s3://b/a/judge.toml", "s3://c/tone.toml", "s3://c/tone.toml"),
        ("ssm:/judge/settings", "tone.toml", "ssm:/judge/tone.toml"),
        ("ssm:settings", "tone.toml", "ssm:tone.toml"),
        ("s3://b/judge.toml", "/opt/tone.toml", "/opt/tone.toml"),
    ],
)
def test_a_relative_name_starts_at_the_folder_of_the_settings(
    place: str, name: str, is_at: str
) -> None:
    assert beside(place, name) == is_at


def test_the_time_to_live_is_60_s_unless_said_otherwise() -> None:
    assert ttl_s({}) == 60.0
    assert ttl_s({"JUDGE_CONFIG_TTL_S": "5"}) == 5.0
    for wrong in ("soon", "0", "nan", "1e9"):
        with pytest.raises(SettingsError, match="JUDGE_CONFIG_TTL_S"):
            ttl_s({"JUDGE_CONFIG_TTL_S": wrong})
