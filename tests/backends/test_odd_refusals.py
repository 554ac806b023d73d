"""Refusals in the words of many servers: each becomes the reason that fits, over real sockets."""

import json
from typing import Any

import pytest

from judge_service.backends.vocabulary.refusals import changes_for
from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.http.failures import refused
from judge_service.values import Completion, Message
from tests.backends.contract import REMOTE, error_of, prompt


def error(message: str, code: Any = None, **more: Any) -> Any:
    return {"error": {"message": message, "code": code, **more}}


FILTERED = [
    (
        400,
        error(
            "Your request was rejected as a result of our safety system.",
            "content_policy_violation",
        ),
    ),
    (400, error("The prompt was blocked", "ResponsibleAIPolicyViolation")),
    (403, error("Your input was flagged for violence", 403, metadata={"reasons": ["violence"]})),
    (400, error("Input data may contain inappropriate content.", "data_inspection_failed")),
    (400, error("Content Exists Risk", "invalid_request_error")),
    (403, error("Content violates usage guidelines. Failed check: SAFETY_CHECK", "x")),
    (400, error("系统检测到输入或生成内容可能包含敏感内容", "1301")),
    (422, {"detail": "content moderation refused the prompt"}),
    (200, error("The response was filtered", "content_filter")),
    (500, error("prompt blocked by content filter")),
    (200, {"promptFeedback": {"blockReason": "SAFETY"}}),
    (
        200,
        {
            "choices": [],
            "prompt_filter_results": [{"content_filter_results": {"hate": {"filtered": True}}}],
        },
    ),
]
TOO_LONG = [
    (
        400,
        error(
            "the request exceeds the available context size. try increasing it",
            "exceed_context_size_error",
        ),
    ),
    (
        400,
        error(
            "This model's maximum prompt length is 131072 but the request contains 537812 tokens."
        ),
    ),
    (
        400,
        {
            "detail": "The decoder prompt (length 5000) is longer than the maximum model length of 4096"
        },
    ),
    (422, {"detail": [{"loc": ["body", "prompt"], "msg": "input is too long", "input": "x"}]}),
    (413, b"<html>"),
    (400, error("Range of input length should be [1, 6000]", "InvalidParameter")),
    (400, error("Your request exceeded model token limit: 8192")),
    (400, error("Prompt exceeds max length", "1261")),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "token count exceeds the maximum",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    (500, error("input length and `max_tokens` exceed context limit")),
    (429, error("Request too large for m: Limit 6000, Requested 12345", "rate_limit_exceeded")),
    (413, error("Request too large for model on tokens per minute (TPM)", "rate_limit_exceeded")),
]
THROTTLED = [
    (429, error("slow down")),
    (200, error("slow down", "429")),
    (200, error("slow down", 429)),
    (200, error("Resource exhausted", None, status="RESOURCE_EXHAUSTED")),
    (
        200,
        {"choices": [{"error": {"code": 429, "message": "upstream"}, "message": {"content": ""}}]},
    ),
    (400, error("x", "rate_limit_exceeded")),
    (503, error("x", None, type="rate_limit_error")),
    (429, error("You exceeded your current quota, please check your plan", "RESOURCE_EXHAUSTED")),
]
BUSY = [
    (409, error("conflict")), (425, b""), (498, error("flex tier capacity exceeded")),
    (529, error("Overloaded", None, type="overloaded_error")),
    (200, error("Overloaded", None, type="overloaded_error")),
    (200, {"choices": [{"error": {"code": 502}, "message": None, "finish_reason": "error"}]}),
]  # fmt: skip
USED_UP = [
    (402, error("Insufficient Balance")),
    (402, b""),
    (429, error("x", "insufficient_quota")),
    (400, error("Your credit balance is too low to access the API")),
    (403, error("x", "billing_not_active")),
    (429, error("Too many tokens per day")),
]
CHANNEL = [
    (400, error("Invalid JSON schema: unsupported keyword")),
    (422, {"error": "Grammar error: cannot compile", "error_type": "validation"}),
    (400, {"detail": [{"loc": ["body", "response_format"], "msg": "extra fields not permitted"}]}),
    (
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "response_schema is not supported",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    (500, error("failed to parse grammar")),
    (501, error("structured output is not implemented")),
    (404, error("No endpoints found that support tool use")),
    (400, error("m does not support tools")),
    (400, error('"auto" tool choice requires --enable-auto-tool-choice')),
]
FINAL = [
    (400, error("bad seed")),
    (401, error("content policy")),
    (404, error("no such model")),
    # what may be a quotation of the prompt does not open the breaker for everybody
    (
        400,
        error(
            "invalid: 'my account has insufficient balance and no credit balance, so the answer is 5'"
        ),
    ),
]
CASES = [
    *((status, body, "refused", {"retryable": False}) for status, body in FILTERED),
    *((status, body, "too_long", {"retryable": False}) for status, body in TOO_LONG),
    *((status, body, "throttled", {"throttled": True}) for status, body in THROTTLED),
    *(
        (status, body, "unavailable", {"retryable": True, "charged": False})
        for status, body in BUSY[:5]
    ),
    *((status, body, "unavailable", {"retryable": True}) for status, body in BUSY[5:]),
    *((status, body, "quota_exhausted", {"retryable": False}) for status, body in USED_UP),
    *((status, body, "denied", {"unsupported_channel": True}) for status, body in CHANNEL),
    *((status, body, "denied", {"unsupported_channel": False}) for status, body in FINAL),
]


@pytest.mark.parametrize(("status", "body", "reason", "expected"), CASES)
async def test_a_refusal_has_the_reason_that_fits(
    server: Any, answer: Any, *, status: int, body: Any, reason: str, expected: Any
) -> None:
    server.will(answer(status, body))
    async with REMOTE["openai"].open(server.url) as judge:
        with pytest.raises(CallError) as caught:
            await judge(Request(body=prompt("schema")))
    assert caught.value.reason == reason
    assert {key: getattr(caught.value, key) for key in expected} == expected
    assert len(server.received) == 1
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "body",
    [
        error("Tool choice is required, but model did not call a tool", "tool_use_failed"),
        error("Failed to generate JSON. Please adjust your prompt.", "json_validate_failed"),
    ],
)
async def test_a_bad_draw_told_as_an_error_is_an_unusable_answer(
    server: Any, answer: Any, body: Any
) -> None:
    server.will(answer(400, body))
    async with REMOTE["openai"].open(server.url) as judge:
        completion = await judge(Request(body=prompt("tool")))
    assert (completion.stop_reason, completion.usage.calls) == ("malformed", 1)


@pytest.mark.parametrize("name", ["bedrock"])
@pytest.mark.parametrize(
    ("status", "code", "message", "reason"),
    [
        *((400, code, "wait", "throttled") for code in (
            "ThrottledException", "ProvisionedThroughputExceededException", "RequestThrottled",
            "BandwidthLimitExceeded", "TransactionInProgressException", "LimitExceededException",
        )),
        (400, "RequestTimeoutException", "x", "unavailable"),
        (409, "ConflictException", "x", "unavailable"),
        (402, "PaymentRequired", "x", "quota_exhausted"),
        (400, "ValidationException", "Output blocked by content filtering policy", "refused"),
        (400, "ValidationException", "expected maxLength: 2048, actual: 3000", "too_long"),
        (400, "ValidationException", "Input Tokens Exceeded: over the maximum length", "too_long"),
        (400, "ValidationException", "a bad seed", "denied"),
    ],
)  # fmt: skip
async def test_a_refusal_of_bedrock_has_the_reason_that_fits(
    server: Any, answer: Any, *, name: str, status: int, code: str, message: str, reason: str
) -> None:
    server.will(answer(status, {"message": message}, {"x-amzn-errortype": code}))
    async with REMOTE[name].open(server.url) as judge:
        with pytest.raises(CallError) as caught:
            await judge(Request(body=prompt()))
    assert caught.value.reason == reason


async def test_an_expired_api_key_is_read_again_and_then_named(server: Any, answer: Any) -> None:
    from judge_service.backends import open_backend
    from judge_service.settings import load_settings

    expired = answer(
        403, {"message": "Bearer Token has expired"}, {"x-amzn-errortype": "AccessDeniedException"}
    )
    good = {"output": {"message": {"content": [{"text": "4"}]}}, "stopReason": "end_turn"}
    told = {
        name: value.replace("@", server.url) for name, value in REMOTE["bedrock"].environ.items()
    }
    environ = {"AWS_BEARER_TOKEN_BEDROCK": "old", "AWS_REGION": "us-east-1"}
    judge = open_backend(load_settings(None, told), environ)
    server.will(expired, expired, answer(200, good))
    with pytest.raises(CallError, match="AWS_BEARER_TOKEN_BEDROCK"):
        await judge(Request(body=prompt()))
    environ["AWS_BEARER_TOKEN_BEDROCK"] = "new"
    completion = await judge(Request(body=prompt()))
    await judge.aclose()
    assert isinstance(completion, Completion)
    assert server.received[-1].headers["authorization"] == "Bearer new"


CHAT = {"choices": [{"message": {"content": "4"}, "finish_reason": "stop"}]}
CONVERSE = {"output": {"message": {"content": [{"text": "4"}]}}, "stopReason": "end_turn"}
REFUSALS = [
    ("Unsupported value: 'temperature' does not support 0.0 with this model.", "no temperature"),
    ("`temperature` is deprecated for this model.", "no temperature"),
    ("System role not supported", "no system role"),
    ("This model doesn't support the system field. Remove system and try again.", "no system role"),
    ("Developer instruction is not enabled for models/gemma", "no system role"),
    ("Conversation roles must alternate user/assistant/user/assistant/...", "no system role"),
]


@pytest.mark.parametrize("name", ["openai", "sagemaker", "bedrock", "bedrock_sdk"])
@pytest.mark.parametrize(("message", "change"), REFUSALS)
async def test_a_refused_part_is_left_out_once_that_has_worked(
    server: Any, answer: Any, *, name: str, message: str, change: str
) -> None:
    good = answer(200, CONVERSE if name.startswith("bedrock") else CHAT)
    bad = answer(400, {"message": message}, {"x-amzn-errortype": "ValidationException"})
    if name == "sagemaker":
        told = {
            "OriginalStatusCode": 400,
            "OriginalMessage": json.dumps({"error": {"message": message}}),
        }
        bad = answer(424, told, {"x-amzn-errortype": "ModelError"})
    server.will(bad, good, good)
    async with REMOTE[name].open(server.url) as judge:
        first = await judge(Request(body=prompt()))
        second = await judge(Request(body=prompt()))
        shown = repr(judge)
    assert (first.text, first.asked, second.asked) == ("4", change, change)
    assert len(server.received) == 3
    assert name == "bedrock_sdk" or change in shown


async def test_several_parts_are_left_out_one_after_another(server: Any, answer: Any) -> None:
    server.will(
        answer(400, error("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens'.")),
        answer(400, error("Unsupported value: 'temperature'")),
        answer(422, error("role 'system' is unknown")),
        answer(200, CHAT),
    )
    async with REMOTE["openai"].open(server.url) as judge:
        completion = await judge(Request(body=prompt()))
    assert completion.asked == "max_completion_tokens, no system role, no temperature"
    last = json.loads(server.received[-1].body)
    assert last.keys() & {"max_tokens", "max_completion_tokens", "temperature"} == {
        "max_completion_tokens"
    }
    assert [one["role"] for one in last["messages"]] == ["user"]
    assert last["messages"][0]["content"].startswith("Be fair.\n\n")


@pytest.mark.parametrize("again", [400, 429, 500])
async def test_a_change_that_did_not_work_is_not_kept(server: Any, answer: Any, again: int) -> None:
    quoted = error("invalid input: 'what is the temperature in Oslo?'")
    server.will(answer(400, quoted), answer(again, error("x")), answer(200, CHAT))
    async with REMOTE["openai"].open(server.url) as judge:
        with pytest.raises(CallError):
            await judge(Request(body=prompt()))
        completion = await judge(Request(body=prompt()))
    assert completion.asked == ""
    assert b'"temperature"' in server.received[-1].body


async def test_a_change_that_would_leave_the_call_as_it_is_is_not_tried(
    server: Any, answer: Any
) -> None:
    server.will(answer(400, error("temperature, a system role and logprobs are refused")))
    asked = prompt(temperature=None, messages=(Message("user", "q"),))
    async with REMOTE["openai"].open(server.url) as judge:
        with pytest.raises(CallError):
            await judge(Request(body=asked))
    assert len(server.received) == 1


def test_each_change_has_its_words() -> None:
    assert changes_for("nothing of that") == []
    assert changes_for("Unknown field logprobs; temperature must be 1") == [
        "no temperature",
        "no logprobs",
    ]


async def test_a_judge_that_did_not_see_the_prompt_has_no_verdict(server: Any, answer: Any) -> None:
    words = " ".join(f"stone{'abcdefghij'[n % 10]}" for n in range(4_000))
    asked = prompt(messages=(Message("user", words),))
    for tokens, seen in ((2_048, False), (2_990, False), (3_100, True), (5_000, True)):
        usage = {"prompt_tokens": tokens, "completion_tokens": 1}
        server.will(answer(200, {**CHAT, "usage": usage}))
        async with REMOTE["openai"].open(server.url) as judge:
            caught = await error_of(judge, asked)
        assert (caught is None) == seen
        if caught is not None:
            assert (caught.reason, caught.charged) == ("too_long", True)
            assert "num_ctx" in str(caught)


def test_a_refused_sample_is_no_refused_call() -> None:
    assert (refused("x").reason, refused("x").charged) == ("refused", True)
