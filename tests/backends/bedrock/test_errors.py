"""Every Bedrock error has the attributes that the flow needs, over real sockets with both transports."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge_service.aws.identity_source import identity_source
from judge_service.aws.refusal import read_refusal
from judge_service.backends.bedrock.backend import Bedrock
from judge_service.backends.bedrock.errors import error_of
from judge_service.backends.bedrock.sdk import BedrockSdk
from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport, Reply
from judge_service.settings import BedrockSettings, HttpSettings
from judge_service.values import Message, Prompt, Question

CASES = json.loads(
    (Path(__file__).parents[2] / "data/backends/bedrock_errors.json").read_text(encoding="utf-8")
)
HOSTILE_TO_BOTO = {"a body nested without end", "a body that is no object", "bad gateway in HTML"}
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
MODEL = "amazon.nova-lite-v1:0"
PROMPT = Prompt(
    question=Question(criteria=(), task="", response=""), messages=(Message("user", "q"),)
)


def reply_of(case: dict[str, Any], answer: Any) -> Any:
    headers = dict(case.get("headers", {}))
    if "code" in case:
        headers["x-amzn-errortype"] = case["code"]
    body = case.get("body", case.get("raw", "").encode())
    return answer(case["status"], b"[" * case["nested"] if "nested" in case else body, headers)


def attributes(error: Any) -> Any:
    return {
        "error": type(error).__name__,
        "reason": error.reason,
        "retryable": error.retryable,
        "throttled": error.throttled,
        "retry_after_s": error.retry_after_s,
        "charged": error.charged,
        "max_retries": error.max_retries,
        "backoff_s": error.backoff_s,
        "unsupported_channel": error.unsupported_channel,
    }


def expected(case: dict[str, Any]) -> Any:
    silent = {"retry_after_s": None, "charged": False, "max_retries": None, "backoff_s": None,
              "unsupported_channel": False}  # fmt: skip
    return {name: case.get(name, silent.get(name)) for name in attributes(CallError(""))}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
async def test_a_refusal_is_mapped_once(server: Any, answer: Any, case: dict[str, Any]) -> None:
    server.will(reply_of(case, answer))
    transport = HttpTransport(HttpSettings(), 1)
    judge = Bedrock(
        MODEL, transport=transport, identities=identity_source(KEYS), endpoint_url=server.url
    )
    with pytest.raises(CallError) as caught:
        await judge(Request(body=PROMPT))
    await judge.aclose()
    assert attributes(caught.value) == expected(case)
    assert len(server.received) == 1


async def test_aioboto3_gives_the_same_errors(server: Any, answer: Any) -> None:
    judge = BedrockSdk(
        MODEL,
        bedrock=BedrockSettings(endpoint_url=server.url),
        http=HttpSettings(),
        environ=KEYS,
        max_connections=1,
    )
    for case in CASES:
        if case["name"] in HOSTILE_TO_BOTO:
            continue
        server.will(reply_of(case, answer))
        with pytest.raises(CallError) as caught:
            await judge(Request(body=PROMPT))
        assert attributes(caught.value) == expected(case), case["name"]
        assert len(server.received) == 1, case["name"]
    await judge.aclose()


@settings(deadline=None)
@given(st.integers(300, 599), st.binary(max_size=200) | st.builds(
    lambda body: json.dumps(body).encode(),
    st.dictionaries(
        st.sampled_from(["message", "Message", "__type", "code", "originalStatusCode"]),
        st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers()),
    ),
))  # fmt: skip
def test_whatever_comes_back_there_is_one_error_of_one_bounded_line(status: int, body: Any) -> None:
    error = error_of(read_refusal(Reply(status, {}, body)), MODEL, "us-east-1")
    assert isinstance(error, CallError)
    assert "\n" not in str(error)
    assert str(error).isprintable()
    assert len(str(error)) < 1000
