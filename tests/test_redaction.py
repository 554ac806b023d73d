"""What a server echoes of our secrets is told nowhere."""

import asyncio
import json
import logging
from typing import Any

import msgspec
import pytest

from judge_service.flow.stores import Ask, StoreFailed
from judge_service.flow.stores.redis import RedisStore
from judge_service.redaction import hide_in
from judge_service.service import open_service
from judge_service.settings import Settings
from judge_service.telemetry.events import tell
from judge_service.telemetry.lines import Lines
from judge_service.telemetry.logs import Logs
from judge_service.values import Sample
from tests.raw_server import RawServer, reply, server

__all__ = ["server"]  # a fixture

KEY = "sk-proj-Zq/8+wXr=Tn5vB2kLm9cYd4sHg7jUe1a"
TOKEN = "IQoJb3JpZ2luX2VjEOb//////////wEaCXVzLWVhc3QtMSJHMEUCIQDk+x3=="
AWS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": TOKEN,
    "AWS_REGION": "us-east-1",
}
API_KEY = {"AWS_BEARER_TOKEN_BEDROCK": KEY, "AWS_REGION": "us-east-1"}

SAMPLE = Sample(response="four", reference="four")


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"wrong key {KEY}.", "wrong key ***."),
        (f"{KEY}{KEY} and {KEY}", "****** and ***"),
        ("wrong key " + json.dumps(KEY).replace("/", "\\/"), 'wrong key "***"'),
        (KEY.replace("+", "\\u002B").replace("=", "\\u003d"), "***"),
        (json.dumps(json.dumps({"k": KEY}).replace("/", "\\/")), '"{\\"k\\": \\"***\\"}"'),
        (f"cut off: {KEY[:20]}", "cut off: ***"),
        (f"cut off: {KEY[:20]}... twice {KEY}", "cut off: ***... twice ***"),
        (f"a key begins with {KEY[:8]}", "a key begins with sk-proj-"),
        ("no key at all", "no key at all"),
        ("", ""),
    ],
)
def test_a_secret_is_hidden_however_it_is_written(said: str, told: str) -> None:
    assert hide_in(said, [KEY]) == told


def test_what_is_no_secret_is_told() -> None:
    assert hide_in("the EMPTY set", ["", "EMPTY"]) == "the EMPTY set"


def echoes(secret: str) -> dict[str, Any]:
    """Replies that repeat the secret, by where they do."""
    said = f"bad credentials: {secret}"
    quoted = json.dumps({"error": {"message": said}}).replace("/", "\\/")
    return {
        "openai": reply(401, {"error": {"message": said, "code": secret}}),
        "flat": reply(400, {"message": said}),
        "late": reply(
            403, {"message": "x" * (300 - len(secret)) + said, "error": "x" * 270 + said}
        ),
        "header": reply(403, {"message": said}, {"x-amzn-errortype": f"{secret}:http://a/"}),
        "text": reply(500, said.encode()),
        "with status 200": reply(200, {"error": {"message": said, "code": 400}}),
        "as event": reply(200, f"data: {quoted}\n\ndata: [DONE]\n\n".encode()),
        "of a container": reply(
            424,
            {"OriginalStatusCode": 400, "OriginalMessage": quoted, "Message": said},
            {"x-amzn-errortype": "ModelError"},
        ),
        "throttled": reply(429, {"message": said, "error": {"message": said}}),
    }


BACKENDS: dict[str, tuple[dict[str, Any], dict[str, str], str]] = {
    "openai": ({"backend": "openai", "openai": {}}, {"OPENAI_API_KEY": KEY}, KEY),
    "bedrock": ({"backend": "bedrock", "bedrock": {}}, AWS, TOKEN),
    "bedrock api key": ({"backend": "bedrock", "bedrock": {}}, API_KEY, KEY),
    "sdk": ({"backend": "bedrock", "bedrock": {"transport": "aioboto3"}}, AWS, TOKEN),
    "sagemaker": ({"backend": "sagemaker", "sagemaker": {}}, AWS, TOKEN),
}


def settings_of(backend: str, url: str) -> Settings:
    given = BACKENDS[backend][0]
    section = given["backend"]
    place = {"base_url": f"{url}/v1"} if section == "openai" else {"endpoint_url": url}
    named = {section: {**given[section], **place}, "backend": section, "model": "m"}
    return msgspec.convert({**named, "retry": {"max_attempts": 1, "max_throttled": 1}}, Settings)


@pytest.mark.parametrize("backend", BACKENDS)
async def test_no_error_of_a_server_tells_our_secrets(
    backend: str, server: RawServer, caplog: pytest.LogCaptureFixture
) -> None:
    _, environ, secret = BACKENDS[backend]
    caplog.set_level(logging.INFO, logger="judge_service")  # boto's debug lines are its own
    written: list[bytes] = []
    lines = Lines(written.append)
    details = []
    for name, behaviour in echoes(secret).items():
        server.will(behaviour)
        opened = open_service(
            settings_of(backend, server.url), environ=environ, sink=tell(Logs(lines))
        )
        async with opened as judge:
            [reward] = await judge.score([SAMPLE], deadline_s=5.0)
        assert reward.score is None, name
        details.append(reward.detail)
    lines.flush()

    told = "\n".join([*details, b"".join(written).decode(), caplog.text])
    assert secret[:12] not in told
    assert secret.lower()[:12] not in told
    assert sum("***" in detail for detail in details) >= len(details) // 2
    assert "bad credentials" in told


async def test_a_proxy_that_echoes_its_credentials_is_told_without(server: RawServer) -> None:
    server.will(
        reply(407, {"error": {"message": "no: Basic dXNlcjpzZXNhbWUtb3Blbg== sesame-open"}})
    )
    given = {
        "backend": "openai",
        "model": "m",
        "openai": {"base_url": "http://judge.invalid/v1"},
        "http": {"proxy_url": server.url.replace("//", "//user:sesame-open@")},
    }
    async with open_service(msgspec.convert(given, Settings), environ={}) as judge:
        [reward] = await judge.score([SAMPLE], deadline_s=5.0)

    assert server.received[0].headers["proxy-authorization"] == "Basic dXNlcjpzZXNhbWUtb3Blbg=="
    assert "no: Basic *** ***" in reward.detail


async def test_an_old_redis_that_echoes_the_password_is_told_without(server: RawServer) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(4096):
            writer.write(b"-ERR unknown command 'AUTH', with args: 'user' 'sesame-open'\r\n")
        writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    url = f"redis://user:sesame-open@127.0.0.1:{port}/0"
    store = await asyncio.to_thread(RedisStore, url)  # it reads its script
    try:
        with pytest.raises(StoreFailed) as failed:
            await store.lease("q", Ask(client="a", per_minute={"requests": 60.0}))
    finally:
        await store.aclose()
        listening.close()

    assert "sesame-open" not in str(failed.value)
    assert "'user' '***'" in str(failed.value)
