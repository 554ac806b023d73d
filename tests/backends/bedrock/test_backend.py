"""Converse over real sockets: requests, replies, and corrections after errors."""

import asyncio
import json
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import msgspec
import pytest

from judge_service.aws.credentials import ApiKey, Credentials
from judge_service.aws.identity_source import identity_source
from judge_service.backends.bedrock.backend import Bedrock
from judge_service.backends.bedrock.converse import body_of, channels_of
from judge_service.errors import CredentialsError, DeadlineExceeded, Denied, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings
from judge_service.values import Message, Prompt, Question, Usage
from tests.backends.contract import complaints

MODEL = "us.amazon.nova-lite-v1:0"
SCHEMA = {"type": "object", "properties": {"score": {"enum": [0, 1]}}, "required": ["score"],
          "additionalProperties": False}  # fmt: skip
KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_REGION": "us-east-1",
}


def prompt(**changes: Any) -> Any:
    messages = (Message("system", "the rubric"), Message("user", "the question"))
    question = Question(criteria=(), task="", response="")
    return Prompt(**{"question": question, "messages": messages, "max_output_tokens": 9} | changes)


def converse(content: Any = ({"text": "0.8"},), stop: str = "end_turn", **usage: Any) -> Any:
    counted = {"inputTokens": 20, "outputTokens": 3, "totalTokens": 23} | usage
    message = {"role": "assistant", "content": list(content)}
    return {"output": {"message": message}, "stopReason": stop, "usage": counted}


def error(answer: Any, status: int, code: str, message: str = "", **headers: dict[str, str]) -> Any:
    headers = {"x-amzn-errortype": f"{code}:http://internal/", **headers}
    return answer(status, {"message": message}, headers)


@pytest.fixture
async def judge(server: Any) -> AsyncIterator[Any]:
    transport = HttpTransport(HttpSettings(), 4)
    made = Bedrock(
        MODEL, transport=transport, identities=identity_source(KEYS), endpoint_url=server.url
    )
    yield made
    await made.aclose()


async def ask(judge: Any, **changes: Any) -> Any:
    return await judge(Request(body=prompt(**changes)))


async def test_a_text_prompt_is_sent_and_its_answer_read(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, converse(cacheReadInputTokens=7, cacheWriteInputTokens=5)))
    completion = await ask(judge)
    assert completion.text == "0.8"
    assert completion.data is None
    assert completion.stop_reason == "complete"
    assert completion.usage == Usage(20, 3, 7, 5, calls=1)
    assert completion.model == MODEL
    sent = server.received[0]
    assert (sent.method, sent.target) == ("POST", "/model/us.amazon.nova-lite-v1%3A0/converse")
    assert json.loads(sent.body) == {
        "messages": [{"role": "user", "content": [{"text": "the question"}]}],
        "system": [{"text": "the rubric"}],
        "inferenceConfig": {"maxTokens": 9, "temperature": 0.0},
    }
    assert judge.statistics().completions == 1


def test_a_schema_travels_as_a_string() -> None:
    body = body_of(prompt(channel="schema", schema=SCHEMA), MODEL)
    text = body["outputConfig"]["textFormat"]["structure"]["jsonSchema"]["schema"]
    assert json.loads(text) == SCHEMA
    assert body["outputConfig"]["textFormat"]["type"] == "json_schema"
    assert "toolConfig" not in body


@pytest.mark.parametrize(
    ("model", "choice"),
    [(MODEL, {"tool": {"name": "verdict"}}), ("openai.gpt-oss-20b-1:0", {"any": {}})],
)
def test_the_one_tool_is_forced_in_the_way_the_model_knows(model: str, choice: Any) -> None:
    body = body_of(prompt(channel="tool", schema=SCHEMA), model)
    assert body["toolConfig"]["toolChoice"] == choice
    assert body["toolConfig"]["tools"][0]["toolSpec"]["inputSchema"] == {"json": SCHEMA}
    assert "outputConfig" not in body


def test_a_temperature_of_none_is_left_to_the_model() -> None:
    assert body_of(prompt(temperature=None), MODEL)["inferenceConfig"] == {"maxTokens": 9}


@pytest.mark.parametrize(
    ("content", "text", "data"),
    [
        ([{"reasoningContent": {"reasoningText": {"text": "9"}}}, {"text": "4"}], "4", None),
        ([{"text": "4"}, {"text": "5"}], "4\n5", None),
        ([{"toolUse": {"toolUseId": "x", "name": "verdict", "input": {"score": 1}}}], None,
         {"score": 1}),
        ([{"toolUse": {"toolUseId": "x", "name": "verdict", "input": {"score": 1}}},
          {"toolUse": {"toolUseId": "y", "name": "verdict", "input": {"score": 1}}}], None,
         {"score": 1}),
        ([{"text": "so"}, {"toolUse": {"toolUseId": "x", "name": "other", "input": {"score": 1}}}],
         "so", None),
        ([{"toolUse": {"toolUseId": "x", "name": "verdict", "input": "1"}}], None, None),
        ([], None, None),
    ],
    ids=["reasoning-first", "two-texts", "tool", "twice-the-same", "other-tool", "no-object", "empty"],
)  # fmt: skip
async def test_content_blocks_are_read_whatever_their_order(
    server: Any, judge: Any, answer: Any, *, content: Any, text: str | None, data: Any
) -> None:
    server.will(answer(200, converse(content)))
    completion = await ask(judge)
    assert (completion.text, completion.data) == (text, data)


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ("end_turn", "complete"),
        ("tool_use", "complete"),
        ("stop_sequence", "complete"),
        ("max_tokens", "max_tokens"),
        ("guardrail_intervened", "refused"),
        ("content_filtered", "refused"),
        ("malformed_model_output", "malformed"),
        ("malformed_tool_use", "malformed"),
        ("model_context_window_exceeded", "context_full"),
        ("something_new", "unknown"),
    ],
)
async def test_every_stop_reason_has_one_word(
    server: Any, judge: Any, answer: Any, stop: str, expected: Any
) -> None:
    server.will(answer(200, converse(stop=stop)))
    assert (await ask(judge)).stop_reason == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>busy</html>",
        b'{"output":',
        b"\xff\xfe",
        b"[" * 200_000,
        b'{"output":' + b"[" * 200_000,
        b"null",
        b"{}",
        b'{"output": {"message": "4"}}',
    ],
)
async def test_a_reply_that_is_no_completion_is_worth_one_more_try(
    server: Any, judge: Any, answer: Any, body: Any
) -> None:
    server.will(answer(200, body))
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        await ask(judge)
    assert caught.value.charged
    assert caught.value.max_retries == 1
    assert judge.statistics().completions == 0


async def test_text_that_is_no_unicode_is_denied_before_it_is_sent(server: Any, judge: Any) -> None:
    with pytest.raises(Denied, match="surrogate"):
        await ask(judge, messages=(Message("user", "\ud800"),))
    assert server.received == []


async def test_a_call_says_when_its_bytes_may_have_left(
    judge: Any, server: Any, answer: Any
) -> None:
    server.will(answer(200, converse()))
    request = Request(body=prompt(), deadline=asyncio.get_running_loop().time() + 30)
    await judge(request)
    assert 0 < request.sent_at <= asyncio.get_running_loop().time()
    late = Request(body=prompt(), deadline=0.0)
    with pytest.raises(DeadlineExceeded):
        await judge(late)
    assert late.sent_at == 0.0
    assert len(server.received) == 1


class Renewing:
    """An identity source whose first credentials have expired."""

    def __init__(self, *access_keys: Any) -> None:
        self.access_keys = list(access_keys)
        self.renewed = 0

    async def get(self) -> Any:
        return Credentials(self.access_keys[0], "secret")

    async def renew(self, refused: Any) -> Any:
        if (await self.get()) == refused:
            self.renewed += 1
            self.access_keys.pop(0)
        if not self.access_keys:
            raise CredentialsError("there is nothing newer")
        return await self.get()

    async def region(self) -> Any:
        return "us-east-1"


async def test_expired_credentials_are_renewed_once_and_the_call_sent_again(
    server: Any, judge: Any, answer: Any
) -> None:
    judge._endpoint.identities = source = Renewing("OLD", "NEW")
    server.will(error(answer, 403, "ExpiredTokenException"), answer(200, converse()))
    assert (await ask(judge)).text == "0.8"
    used = [one.headers["authorization"].split("Credential=")[1][:3] for one in server.received]
    assert used == ["OLD", "NEW"]
    assert source.renewed == 1
    assert judge.statistics().renewals == 1


async def test_credentials_that_stay_expired_are_an_error_after_one_renewal(
    server: Any, judge: Any, answer: Any
) -> None:
    judge._endpoint.identities = Renewing("OLD", "NEW", "NEWER")
    server.will(error(answer, 403, "ExpiredTokenException", "is expired"))
    with pytest.raises(CredentialsError, match="is expired"):
        await ask(judge)
    assert len(server.received) == 2


async def test_a_wrong_clock_is_corrected_once_from_the_replys_date(
    server: Any, judge: Any, answer: Any
) -> None:
    judge._endpoint._now = lambda: 1_700_000_000.0
    served_at = formatdate(1_700_000_900, usegmt=True)
    late = error(answer, 403, "InvalidSignatureException", "Signature expired: x", date=served_at)
    server.will(late, answer(200, converse()))
    await ask(judge)
    stamps = [one.headers["x-amz-date"] for one in server.received]
    assert stamps == ["20231114T221320Z", "20231114T222820Z"]
    await ask(judge)
    assert server.received[-1].headers["x-amz-date"] == "20231114T222820Z"


async def test_an_api_key_is_sent_as_a_bearer_token_and_nothing_is_signed(
    server: Any, judge: Any, answer: Any
) -> None:
    class Key(Renewing):
        async def get(self) -> Any:
            return ApiKey("bedrock-api-key-x")

    judge._endpoint.identities = Key()
    server.will(answer(200, converse()))
    await ask(judge)
    headers = server.received[0].headers
    assert headers["authorization"] == "Bearer bedrock-api-key-x"
    assert "x-amz-date" not in headers


@pytest.mark.parametrize(
    ("status", "code", "mend"),
    [
        (403, "AccessDeniedException", "allow bedrock:InvokeModel on arn:aws:bedrock:us-east-1:"),
        (404, "ResourceNotFoundException", "check `model` and the region"),
        (403, "UnrecognizedClientException", "renew them"),
        (302, "", "endpoint_url"),
    ],
)
async def test_a_refusal_says_what_is_wrong_and_how_to_mend_it(
    server: Any, judge: Any, answer: Any, *, status: int, code: str, mend: str
) -> None:
    server.will(error(answer, status, code, "no\nsuch thing"))
    (line,) = await complaints(judge)
    assert mend in line
    assert "\n" not in line


async def test_it_names_missing_credentials_and_region() -> None:
    transport = HttpTransport(HttpSettings(), 1)
    nowhere = {name: value for name, value in KEYS.items() if name != "AWS_REGION"}
    judge = Bedrock(MODEL, transport=transport, identities=identity_source(nowhere))
    assert await complaints(judge) == ["no AWS region is set: set bedrock.region or AWS_REGION"]
    await judge.aclose()


def test_the_repr_is_one_line_without_secrets(judge: Any) -> None:
    assert "AKIDEXAMPLE" not in repr(judge)
    assert "secret" not in repr(judge)
    assert repr(judge).startswith("Bedrock(us.amazon.nova-lite-v1:0, http://127.0.0.1")


SCHEMA_TOOL_TEXT, TOOL_TEXT = ("schema", "tool", "text"), ("tool", "text")


@pytest.mark.parametrize(
    ("model", "channels"),
    [
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", SCHEMA_TOOL_TEXT),
        ("global.anthropic.claude-opus-4-6-v1", SCHEMA_TOOL_TEXT),
        ("anthropic.claude-sonnet-5-v1:0", SCHEMA_TOOL_TEXT),
        ("anthropic.claude-fable-5-1", ("schema", "text")),
        ("anthropic.claude-sonnet-4-20250514-v1:0", TOOL_TEXT),
        ("anthropic.claude-opus-4-1-20250805-v1:0", TOOL_TEXT),
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", TOOL_TEXT),
        ("anthropic.claude-3-haiku-20240307-v1:0", TOOL_TEXT),
        ("eu.amazon.nova-pro-v1:0", TOOL_TEXT),
        ("openai.gpt-oss-120b-1:0", SCHEMA_TOOL_TEXT),
        ("qwen.qwen3-32b-v1:0", SCHEMA_TOOL_TEXT),
        ("arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/abc", TOOL_TEXT),
        ("", TOOL_TEXT),
    ],
)
def test_a_model_answers_in_the_best_way_its_family_knows(model: str, channels: Any) -> None:
    assert channels_of(model) == channels


def test_a_body_is_json_that_boto_understands() -> None:
    from botocore.session import get_session
    from botocore.validate import ParamValidator

    shape = (
        get_session().get_service_model("bedrock-runtime").operation_model("Converse").input_shape
    )
    for body in (prompt(), prompt(channel="tool", schema=SCHEMA), prompt(temperature=None)):
        report = ParamValidator().validate({"modelId": MODEL, **body_of(body, MODEL)}, shape)
        assert not report.has_errors(), report.generate_report()


def test_the_struct_of_a_reply_reads_the_documented_example() -> None:
    from judge_service.backends.bedrock.converse import completion_of, decode_reply

    example = {"toolUse": {"toolUseId": "tooluse_x", "name": "verdict", "input": {"score": 4}}}
    body = msgspec.json.encode(converse([example], "tool_use") | {"metrics": {"latencyMs": 1}})
    assert completion_of(decode_reply(body), prompt(), MODEL).data == {"score": 4}
