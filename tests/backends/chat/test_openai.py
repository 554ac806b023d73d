"""Chat completions over real sockets, in the dialects that servers really speak."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from judge_service.backends import open_backend
from judge_service.backends.chat.openai import OpenAI
from judge_service.errors import CallError, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings, OpenAISettings, Settings
from judge_service.values import Message, Prompt, Question, Usage
from tests.backends.contract import complaints

SCHEMA = {"type": "object", "properties": {"score": {"enum": [0, 1]}}, "required": ["score"]}


def prompt(**changes: Any) -> Any:
    messages = (Message("system", "the rubric"), Message("user", "the question"))
    question = Question(criteria=(), task="", response="")
    return Prompt(**{"question": question, "messages": messages, "max_output_tokens": 9} | changes)


def chat(content: Any = "0.8", finish: Any = "stop", usage: Any = None, **message: str) -> Any:
    said = {"role": "assistant", "content": content, **message}
    counted = usage or {"prompt_tokens": 20, "completion_tokens": 3, "total_tokens": 23}
    return {"model": "m-2026", "choices": [{"index": 0, "message": said, "finish_reason": finish}],
            "usage": counted}  # fmt: skip


def called(arguments: Any, name: str = "verdict") -> Any:
    call = {"id": "x", "type": "function", "function": {"name": name, "arguments": arguments}}
    return chat(None, "tool_calls", tool_calls=[call])


@pytest.fixture
async def judge(server: Any) -> AsyncIterator[Any]:
    transport = HttpTransport(HttpSettings(), 2)
    made = OpenAI("m", transport=transport, base_url=f"{server.url}/v1/", api_key="sk-x")
    yield made
    await made.aclose()


async def ask(judge: Any, **changes: Any) -> Any:
    return await judge(Request(body=prompt(**changes)))


async def test_a_text_prompt_is_sent_and_its_answer_read(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, chat()))
    completion = await ask(judge)
    assert (completion.text, completion.data, completion.stop_reason) == ("0.8", None, "complete")
    assert completion.usage == Usage(20, 3, calls=1)
    assert completion.model == "m-2026"
    sent = server.received[0]
    assert sent.target == "/v1/chat/completions"
    assert sent.headers["authorization"] == "Bearer sk-x"
    assert json.loads(sent.body) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "the rubric"},
            {"role": "user", "content": "the question"},
        ],
        "max_tokens": 9,
        "temperature": 0.0,
    }


async def test_a_schema_and_a_forced_tool_are_asked_for_in_their_own_fields(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, chat("{}")))
    await ask(judge, channel="schema", schema=SCHEMA, temperature=None)
    await ask(judge, channel="tool", schema=SCHEMA)
    schema, tool = (json.loads(one.body) for one in server.received)
    assert schema["response_format"]["json_schema"] == {
        "name": "verdict", "schema": SCHEMA, "strict": True,
    }  # fmt: skip
    assert "temperature" not in schema
    assert tool["tools"][0]["function"]["parameters"] == SCHEMA
    assert tool["tool_choice"] == {"type": "function", "function": {"name": "verdict"}}
    assert "response_format" not in tool


@pytest.mark.parametrize(
    ("reply", "data", "stop"),
    [
        (called('{"score": 1}'), {"score": 1}, "complete"),
        (called('{"score": 1'), None, "malformed"),
        (called('{"score": NaN}'), None, "malformed"),
        (called("[" * 200_000), None, "malformed"),
        (called('{"score": 1}', "other"), None, "complete"),
        (chat("0.", "length"), None, "max_tokens"),
        (chat(None, "content_filter"), None, "refused"),
        (chat(None, refusal="I cannot"), None, "refused"),
        (chat("1", "abort"), None, "malformed"),
        (chat("1", None), None, "unknown"),
        (chat("1", "a new word"), None, "unknown"),
    ],
)
async def test_verdicts_and_stop_reasons_are_read(
    server: Any, judge: Any, answer: Any, *, reply: Any, data: Any, stop: str
) -> None:
    server.will(answer(200, reply))
    completion = await ask(judge)
    assert (completion.data, completion.stop_reason) == (data, stop)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<reasoning>It is 5.</reasoning>4", "4"),
        ("<think>\nThe candidate says </think>5, so\n</think>\n\n4", "\n\n4"),
        ("<think>It is 5", None),
        ("<reasoning>5</reasoning>", ""),
        ("4</think>5", "5"),
        ("I <think>5</think> 4", "I \n 4"),
    ],
)
async def test_reasoning_that_a_server_leaves_in_the_answer_is_no_part_of_it(
    server: Any, judge: Any, answer: Any, content: str, text: str | None
) -> None:
    server.will(answer(200, chat(content)))
    assert (await ask(judge)).text == text


async def test_cached_tokens_are_not_counted_twice(server: Any, judge: Any, answer: Any) -> None:
    counted = {"prompt_tokens": 20, "completion_tokens": 3,
               "prompt_tokens_details": {"cached_tokens": 16}}  # fmt: skip
    server.will(answer(200, chat(usage=counted)))
    assert (await ask(judge)).usage == Usage(4, 3, 16, 0, calls=1)


async def test_a_server_that_counts_no_tokens_is_read_all_the_same(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, chat() | {"usage": None}))
    assert (await ask(judge)).usage == Usage(calls=1)


async def test_a_model_that_wants_the_newer_token_limit_gets_it_from_then_on(
    server: Any, judge: Any, answer: Any
) -> None:
    refused = {"error": {"message": "Unsupported parameter: use 'max_completion_tokens' instead."}}
    server.will(answer(400, refused), answer(200, chat()))
    await ask(judge)
    await ask(judge)
    fields = [
        {"max_tokens", "max_completion_tokens"} & json.loads(one.body).keys()
        for one in server.received
    ]
    assert fields == [{"max_tokens"}, {"max_completion_tokens"}, {"max_completion_tokens"}]


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b'{"choices":[]}', b"[" * 200_000])
async def test_a_reply_that_is_no_completion_is_worth_one_more_try(
    server: Any, judge: Any, answer: Any, body: Any
) -> None:
    server.will(answer(200, body))
    with pytest.raises(Unavailable, match="cannot be read") as caught:
        await ask(judge)
    assert (caught.value.charged, caught.value.max_retries) == (True, 1)


NESTED = {"error": {"message": "m", "type": "t", "code": "c"}}


def complaint(message: str, code: str | None = None) -> Any:
    return {"error": {"message": message, "code": code}}


@pytest.mark.parametrize(
    ("status", "body", "name", "expected"),
    [
        (429, NESTED, "Throttled", {"throttled": True, "retry_after_s": 3.0}),
        (429, complaint("x", "insufficient_quota"), "QuotaExhausted", {"retryable": False}),
        (401, NESTED, "CredentialsError", {"reason": "denied"}),
        (403, b"", "CredentialsError", {"reason": "denied"}),
        (404, NESTED, "Denied", {"unsupported_channel": False}),
        (307, b"", "Denied", {"unsupported_channel": False}),
        (400, complaint("response_format is not supported"), "Denied", {"unsupported_channel": True}),
        (422, {"message": "tool_choice: unknown"}, "Denied", {"unsupported_channel": True}),
        (400, complaint("bad seed"), "Denied", {"unsupported_channel": False}),
        (400, complaint("x", "context_length_exceeded"), "Denied", {"reason": "too_long"}),
        (413, b"", "Denied", {"reason": "too_long"}),
        (408, b"", "Unavailable", {"charged": True, "max_retries": 1, "backoff_s": 0.5}),
        (500, b"<html>", "Unavailable", {"charged": True, "backoff_s": 0.05}),
        (503, {"error": "loading"}, "Unavailable", {"charged": False, "retry_after_s": 3.0}),
    ],
)  # fmt: skip
async def test_a_refusal_is_mapped_once(
    server: Any, judge: Any, answer: Any, *, status: int, body: Any, name: str, expected: Any
) -> None:
    server.will(answer(status, body, {"retry-after": "3"}))
    with pytest.raises(CallError) as caught:
        await ask(judge)
    assert type(caught.value).__name__ == name
    assert {key: getattr(caught.value, key) for key in expected} == expected
    assert len(server.received) == 1


async def test_a_refusal_names_the_variable_of_the_key(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(401, NESTED))
    (line,) = await complaints(judge)
    assert line.endswith("set OPENAI_API_KEY")
    assert "sk-x" not in line + repr(judge)
    assert json.loads(server.received[0].body)["max_tokens"] == 1


async def test_the_key_comes_from_the_variable_that_the_settings_name(
    server: Any, answer: Any
) -> None:
    server.will(answer(200, chat()))
    chosen = OpenAISettings(base_url=f"{server.url}/v1", api_key_env="MY_KEY")
    settings = Settings(backend="openai", model="m", openai=chosen)
    for environ, sent in (({"MY_KEY": "k"}, "Bearer k"), ({}, None), ({"MY_KEY": ""}, None)):
        judge = open_backend(settings, environ)
        assert await complaints(judge) == []
        assert server.received[-1].headers.get("authorization") == sent
        await judge.aclose()
