"""Credentials: from the environment without boto, else from a session that renews itself."""

import asyncio
import subprocess
import sys
import textwrap
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest

from judge_service.aws import credentials
from judge_service.aws.credentials import ApiKey, Credentials, Session
from judge_service.aws.identity_source import identity_source
from judge_service.errors import CredentialsError, Denied

KEYS = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret"}
Frozen = namedtuple("Frozen", "access_key secret_key token")  # noqa: PYI024 - botocore's shape


class FakeSession:
    """Stands where aioboto3.Session stands."""

    region_name = "ap-south-1"

    def __init__(self, keys: Any) -> None:
        self.keys = keys

    async def get_credentials(self) -> Any:
        return self if self.keys else None

    async def get_frozen_credentials(self) -> Any:
        if isinstance(self.keys, Exception):
            raise self.keys
        return Frozen(*self.keys)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The arguments of each session opened; `sessions` are handed out in order, the last one for ever."""
    calls = []

    def open_session(profile: Any, region: str) -> Any:
        calls.append((profile, region))
        sessions = open_session.sessions
        return FakeSession(sessions.pop(0) if len(sessions) > 1 else sessions[0])

    open_session.sessions = [("A1", "s1", "t1")]
    monkeypatch.setattr(credentials, "open_session", open_session)
    monkeypatch.setattr(credentials, "REOPEN_AFTER_S", 0.0)
    calls_and = namedtuple("Opened", "calls hand_out")  # noqa: PYI024 - a pair for the tests
    return calls_and(calls, lambda *keys: setattr(open_session, "sessions", list(keys)))


async def test_the_environment_is_read_with_its_session_token() -> None:
    source = identity_source({**KEYS, "AWS_SESSION_TOKEN": "token", "AWS_REGION": "eu-west-1"})
    assert await source.get() == Credentials("AKIDEXAMPLE", "secret", "token")
    assert await source.region() == "eu-west-1"
    assert repr(source) == "credentials from AWS_ACCESS_KEY_ID in the environment"


async def test_an_api_key_goes_before_signing_keys_and_the_repr_says_so() -> None:
    source = identity_source({**KEYS, "AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key-x"})
    assert await source.get() == ApiKey("bedrock-api-key-x")
    assert "AWS_BEARER_TOKEN_BEDROCK" in repr(source)
    assert "bedrock-api-key-x" not in repr(source) + repr(await source.get())


async def test_a_profile_in_the_settings_goes_before_the_environment(opened: Any) -> None:
    source = identity_source({**KEYS, "AWS_PROFILE": "other"}, profile="judge", region="us-west-2")
    assert await source.get() == Credentials("A1", "s1", "t1")
    assert opened.calls == [("judge", "us-west-2")]


async def test_a_region_in_the_settings_goes_first_then_the_variables_in_order() -> None:
    both = {**KEYS, "AWS_REGION": "us-east-2", "AWS_DEFAULT_REGION": "us-west-1"}
    assert await identity_source(both, region="us-east-1").region() == "us-east-1"
    assert await identity_source(both).region() == "us-east-2"
    del both["AWS_REGION"]
    assert await identity_source(both).region() == "us-west-1"


async def test_a_region_may_come_from_the_profile(opened: Any) -> None:
    assert await identity_source({}, profile="judge").region() == "ap-south-1"


async def test_without_any_region_the_error_says_what_to_set() -> None:
    with pytest.raises(Denied, match=r"set bedrock\.region or AWS_REGION"):
        await identity_source(KEYS).region()


async def test_expired_keys_in_the_environment_are_read_again() -> None:
    environ = dict(KEYS)
    source = identity_source(environ)
    old = await source.get()
    with pytest.raises(CredentialsError, match="renew them"):
        await source.renew(old)
    environ["AWS_ACCESS_KEY_ID"] = "AKIDNEW"
    assert (await source.renew(old)).access_key == "AKIDNEW"
    assert (await source.get()).access_key == "AKIDNEW"


async def test_a_session_is_opened_once_for_many_calls_and_asked_every_time(opened: Any) -> None:
    source = Session(None, "us-east-1")
    found = await asyncio.gather(*[source.get() for _ in range(50)])
    assert set(map(repr, found)) == {"Credentials(A1...)"}
    assert len(opened.calls) == 1


async def test_a_refusal_of_many_calls_opens_one_new_session(opened: Any) -> None:
    opened.hand_out(("A1", "s1", "t1"), ("A2", "s2", "t2"))
    source = Session(None, "us-east-1")
    old = await source.get()
    renewed = await asyncio.gather(*[source.renew(old) for _ in range(50)])
    assert {one.access_key for one in renewed} == {"A2"}
    assert len(opened.calls) == 2


async def test_a_session_that_has_nothing_newer_is_not_opened_in_a_storm(
    opened: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "REOPEN_AFTER_S", 60.0)
    source = Session(None, "us-east-1")
    old = await source.get()
    results = await asyncio.gather(*[source.renew(old) for _ in range(50)], return_exceptions=True)
    assert all(isinstance(one, CredentialsError) for one in results)
    assert len(opened.calls) == 1


async def test_a_caller_that_gives_up_leaves_the_renewal_to_the_next(opened: Any) -> None:
    opened.hand_out(("A1", "s1", "t1"), ("A2", "s2", "t2"))
    source = Session(None, "us-east-1")
    old = await source.get()
    first = asyncio.create_task(source.renew(old))
    await asyncio.sleep(0)
    first.cancel()
    renewed = await source.renew(old)
    assert renewed.access_key == "A2"
    assert (await asyncio.gather(first, return_exceptions=True))[
        0
    ].__class__ is asyncio.CancelledError


@pytest.mark.parametrize("keys", [None, RuntimeError("SSO token has expired")])
async def test_a_session_without_usable_credentials_says_so(opened: Any, keys: Any) -> None:
    opened.hand_out(keys)
    with pytest.raises(CredentialsError, match=r"AWS_ACCESS_KEY_ID|SSO token has expired"):
        await Session(None, "us-east-1").get()


async def test_without_aioboto3_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aioboto3", None)
    with pytest.raises(CredentialsError, match=r"pip install judge-service\[aws\]"):
        await Session(None, "us-east-1").get()


async def test_a_real_session_reads_a_profile_and_its_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config").write_text("[profile judge]\nregion = eu-north-1\n")
    (tmp_path / "credentials").write_text(
        "[judge]\naws_access_key_id = AKIDPROFILE\naws_secret_access_key = s\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    source = identity_source(KEYS, profile="judge")
    assert await source.region() == "eu-north-1"
    assert await source.get() == Credentials("AKIDPROFILE", "s", None)
    (tmp_path / "credentials").write_text(
        "[judge]\naws_access_key_id = AKIDRENEWED\naws_secret_access_key = s\n"
    )
    monkeypatch.setattr(credentials, "REOPEN_AFTER_S", 0.0)
    assert (await source.renew(await source.get())).access_key == "AKIDRENEWED"


async def test_a_profile_that_does_not_exist_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    with pytest.raises(CredentialsError, match="no-such-profile"):
        await identity_source({}, profile="no-such-profile").get()


async def test_signed_calls_import_no_boto_and_the_process_ends_cleanly(
    server: Any, answer: Any
) -> None:
    converse = {
        "output": {"message": {"role": "assistant", "content": [{"text": "1"}]}},
        "stopReason": "end_turn",
        "usage": {"inputTokens": 1, "outputTokens": 1, "totalTokens": 2},
    }
    server.will(answer(200, converse))
    program = f"""
        import asyncio, sys
        from judge_service.backends import open_backend
        from judge_service.flow import Request
        from judge_service.settings import BedrockSettings, Settings
        from judge_service.values import Message, Prompt, Question

        async def main():
            bedrock = BedrockSettings(region="us-east-1", endpoint_url="{server.url}")
            judge = open_backend(Settings(backend="bedrock", model="m", bedrock=bedrock), {KEYS!r})
            prompt = Prompt(
                question=Question(criteria=(), task="", response=""), messages=(Message("user", "1"),)
            )
            assert (await judge(Request(prompt))).text == "1"
            await judge.aclose()

        asyncio.run(main())
        heavy = [name for name in sys.modules if name.split(".")[0] in
                 {{"boto3", "botocore", "aioboto3", "aiobotocore", "aiohttp", "numpy", "onnxruntime"}}]
        assert not heavy, heavy
    """
    run = [sys.executable, "-c", textwrap.dedent(program)]
    done = await asyncio.to_thread(subprocess.run, run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert server.received[0].headers["authorization"].startswith("AWS4-HMAC-SHA256 ")
