"""The direct transport and the reference transport send the same request and read the same completion."""

import asyncio
import functools
import json
import socket
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judge_service.aws.credentials import Session
from judge_service.aws.identity_source import identity_source
from judge_service.backends.bedrock.backend import Bedrock
from judge_service.backends.bedrock.converse import completion_of, convert_reply, decode_reply
from judge_service.backends.bedrock.sdk import BedrockSdk
from judge_service.errors import CredentialsError, DeadlineExceeded, Denied, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport
from judge_service.settings import BedrockSettings, HttpSettings
from judge_service.values import Message, Prompt, Question
from tests.backends.contract import complaints

REPLY = {
    "output": {"message": {"role": "assistant", "content": [{"text": "1"}]}},
    "stopReason": "end_turn",
    "usage": {"inputTokens": 2, "outputTokens": 1, "totalTokens": 3},
    "metrics": {"latencyMs": 1},
}
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token/+=",
    "AWS_REGION": "eu-central-1",
}
SCHEMA = {"type": "object", "properties": {"a": {"enum": [0, 1]}}, "additionalProperties": False}
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)
MODELS = st.one_of(
    st.from_regex(r"(us\.)?[a-z0-9-]{1,9}\.[a-z0-9-]{1,20}(:[0-9])?", fullmatch=True),
    st.from_regex(
        r"arn:aws:bedrock:us-east-1:[0-9]{12}:inference-profile/[a-zA-Z0-9-:.]{1,20}",
        fullmatch=True,
    ),
)
PROMPTS = st.builds(
    Prompt,
    question=st.just(Question(criteria=(), task="", response="")),
    messages=st.builds(
        lambda system, user: (*[Message("system", text) for text in system], Message("user", user)),
        st.lists(TEXT, max_size=2),
        TEXT,
    ),
    channel=st.sampled_from(["tool", "text"]),
    schema=st.none() | st.just(SCHEMA),
    max_output_tokens=st.integers(1, 4096),
    temperature=st.none() | st.floats(0, 1),
)


HTTP = HttpSettings()


def direct(model: str, url: str, http: HttpSettings = HTTP) -> Any:
    transport = HttpTransport(http, 4)
    return Bedrock(model, transport=transport, identities=identity_source(KEYS), endpoint_url=url)


def reference(
    model: str,
    url: str,
    environ: dict[str, str] = KEYS,
    http: HttpSettings = HTTP,
    **bedrock: Any,
) -> Any:
    return BedrockSdk(
        model,
        bedrock=BedrockSettings(endpoint_url=url, **bedrock),
        http=http,
        environ=environ,
        max_connections=4,
    )


async def test_both_paths_send_the_same_request_and_read_the_same_completion(
    server: Any, answer: Any
) -> None:
    server.will(answer(200, REPLY))
    ours, boto = direct("x", server.url), reference("x", server.url)

    async def compare(model: str, prompt: Prompt) -> None:
        ours.model = boto.model = model
        ours._endpoint._site = None
        server.received.clear()
        assert await ours(Request(body=prompt)) == await boto(Request(body=prompt))
        mine, theirs = server.received
        assert (mine.method, mine.target) == (theirs.method, theirs.target)
        assert json.loads(mine.body) == json.loads(theirs.body)
        for name in ("host", "content-type", "x-amz-security-token"):
            assert mine.headers[name] == theirs.headers[name]
        scope = [one.headers["authorization"].split(",")[0].split("/") for one in (mine, theirs)]
        assert scope[0][2:] == scope[1][2:] == ["eu-central-1", "bedrock", "aws4_request"]

    loop = asyncio.get_running_loop()

    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    @given(MODELS, PROMPTS)
    def run(model: str, prompt: Prompt) -> None:
        asyncio.run_coroutine_threadsafe(compare(model, prompt), loop).result(20)

    await asyncio.to_thread(run)
    await ours.aclose()
    await boto.aclose()


@functools.cache
def converse_shape(side: Any) -> Any:
    from botocore.session import get_session

    service = get_session().get_service_model("bedrock-runtime")
    return getattr(service.operation_model("Converse"), side)


CONTENT = st.lists(
    st.one_of(
        st.builds(lambda text: {"text": text}, TEXT),
        st.builds(
            lambda name, given: {"toolUse": {"toolUseId": "t", "name": name, "input": given}},
            st.sampled_from(["verdict", "other"]),
            st.dictionaries(st.sampled_from("abc"), st.integers(-9, 9) | TEXT | st.none()),
        ),
        st.just({"reasoningContent": {"reasoningText": {"text": "hm"}}}),
    ),
    max_size=4,
)


@settings(deadline=None)
@given(CONTENT, st.sampled_from(["end_turn", "tool_use", "max_tokens", "new"]), st.integers(0, 9))
def test_a_reply_is_read_as_botos_own_parser_reads_it(content: Any, stop: str, cached: int) -> None:
    from botocore.parsers import RestJSONParser

    reply = REPLY | {
        "stopReason": stop,
        "output": {"message": {"role": "assistant", "content": content}},
    }
    reply["usage"] = {**REPLY["usage"], "cacheReadInputTokens": cached}
    body = json.dumps(reply).encode()
    parsed = RestJSONParser().parse(
        {"status_code": 200, "headers": {}, "body": body}, converse_shape("output_shape")
    )
    ours = completion_of(decode_reply(body), simple_prompt(), "m")
    assert ours == completion_of(convert_reply(parsed), simple_prompt(), "m")


async def test_a_field_that_boto_does_not_know_counts_as_an_unsupported_channel(
    server: Any, answer: Any
) -> None:
    """When the installed boto has learnt `outputConfig`, the call goes through instead."""
    server.will(answer(200, REPLY))
    judge = reference("anthropic.claude-haiku-4-5-v1:0", server.url)
    prompt = Prompt(
        question=Question(criteria=(), task="", response=""),
        messages=(Message("user", "q"),),
        channel="schema",
        schema=SCHEMA,
    )
    if "outputConfig" in converse_shape("input_shape").members:
        await judge(Request(body=prompt))
        assert b"outputConfig" in server.received[0].body
    else:
        with pytest.raises(Denied) as caught:
            await judge(Request(body=prompt))
        assert caught.value.unsupported_channel
        assert server.received == []
    await judge.aclose()


def simple_prompt() -> Any:
    return Prompt(
        question=Question(criteria=(), task="", response=""), messages=(Message("user", "q"),)
    )


async def silence(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def reset(writer: asyncio.StreamWriter) -> None:
    """Sends RST, where `abort` may send a plain FIN."""
    linger = struct.pack("ii", 1, 0)
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.transport.abort()


async def abort(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@pytest.mark.parametrize("make", [direct, reference])
async def test_both_paths_end_at_the_deadline(server: Any, answer: Any, make: Any) -> None:
    server.will(answer(200, REPLY), silence)
    judge = make("m", server.url)
    await judge(Request(body=simple_prompt()))  # boto takes half a second to open
    deadline = asyncio.get_running_loop().time() + 0.5
    with pytest.raises(DeadlineExceeded) as caught:
        await judge(Request(body=simple_prompt(), deadline=deadline))
    assert caught.value.charged
    await judge.aclose()


@pytest.mark.parametrize("make", [direct, reference])
async def test_both_paths_tell_timeouts_resets_and_garbage_apart(
    server: Any, answer: Any, make: Any
) -> None:
    judge = make("m", server.url, http=HttpSettings(call_timeout_s=0.2))
    for behaviour, retries in (
        (silence, 1),
        (abort, None),
        (reset, None),
        (answer(200, b"<html>"), 1),
    ):
        server.will(behaviour)
        with pytest.raises(Unavailable) as caught:
            await judge(Request(body=simple_prompt()))
        assert (caught.value.charged, caught.value.max_retries) == (True, retries)
        assert len(server.received) == 1
    await judge.aclose()


@pytest.mark.parametrize("make", [direct, reference])
async def test_both_paths_say_that_nothing_listens(make: Any) -> None:
    judge = make("m", "http://127.0.0.1:9")
    (line,) = await complaints(judge)
    assert "cannot be reached" in line
    await judge.aclose()


async def test_many_first_calls_open_one_client(server: Any, answer: Any) -> None:
    server.will(answer(200, REPLY))
    judge = reference("m", server.url)
    await asyncio.gather(*[judge(Request(body=simple_prompt())) for _ in range(8)])
    assert judge.statistics().completions == 8
    assert server.connections <= 4
    await judge.aclose()


async def test_without_region_or_credentials_it_says_so(
    server: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_ACCESS_KEY_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    keys_only = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
    assert "AWS_REGION" in (await complaints(reference("m", server.url, environ=keys_only)))[0]
    judge = reference("m", server.url, environ={"AWS_REGION": "us-east-1"})
    assert "credentials" in (await complaints(judge))[0]
    await judge.aclose()
    with pytest.raises(CredentialsError, match="AWS_ACCESS_KEY_ID"):
        await Session(None, "us-east-1").get()
