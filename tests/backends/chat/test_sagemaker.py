"""InvokeEndpoint over real sockets: the request is botocore's, and every refusal is read once."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from judge_service.aws.identity_source import identity_source
from judge_service.backends import open_backend
from judge_service.backends.chat.sagemaker import SageMaker, invocations_url, prefix_id
from judge_service.errors import CallError, Denied, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport
from judge_service.service import open_service
from judge_service.settings import HttpSettings, SageMakerSettings, Settings, load_settings
from judge_service.simulator import SimulatorConfig, simulate
from judge_service.values import Message, Prompt, Question, Sample, Usage
from tests.backends.contract import ENVIRON, REMOTE, SCORE, complaints
from tests.backends.contract import KEYS as SIGNER

KEYS = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_SESSION_TOKEN": "token/+=",
    "AWS_REGION": "us-east-1",
}
SCHEMA = {"type": "object", "properties": {"score": {"enum": [0, 1]}}, "required": ["score"]}


def prompt(**changes: Any) -> Any:
    messages = (Message("system", "the rubric"), Message("user", "the question"))
    question = Question(criteria=(SCORE,), task="", response="")
    return Prompt(**{"question": question, "messages": messages, "max_output_tokens": 9} | changes)


def chat(content: Any = "4", finish: Any = "stop", **more: Any) -> Any:
    message = {"role": "assistant", "content": content}
    return {
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 3},
        **more,
    }


def opened(url: str, environ: dict[str, str] = KEYS, **sagemaker: Any) -> SageMaker:
    return SageMaker(
        "Judge-Endpoint",
        transport=HttpTransport(HttpSettings(), 4),
        identities=identity_source(environ, service="sagemaker"),
        sagemaker=SageMakerSettings(endpoint_url=url, **sagemaker),
    )


@pytest.fixture
async def judge(server: Any) -> AsyncIterator[Any]:
    made = opened(server.url)
    yield made
    await made.aclose()


async def ask(judge: Any, **changes: Any) -> Any:
    return await judge(Request(body=prompt(**changes)))


async def body_sent(server: Any, answer: Any, asked: Any, **sagemaker: Any) -> Any:
    server.will(answer(200, chat()))
    judge = opened(server.url, **sagemaker)
    await judge(Request(body=asked))
    await judge.aclose()
    return json.loads(server.received[0].body)


async def test_a_prompt_is_a_chat_body_without_a_model(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, chat()))
    completion = await ask(judge)

    assert (completion.text, completion.stop_reason) == ("4", "complete")
    assert completion.usage == Usage(20, 3, calls=1)
    assert completion.model == "Judge-Endpoint"
    assert server.received[0].target == "/endpoints/Judge-Endpoint/invocations"
    assert json.loads(server.received[0].body) == {
        "messages": [
            {"role": "system", "content": "the rubric"},
            {"role": "user", "content": "the question"},
        ],
        "max_tokens": 9,
        "temperature": 0.0,
    }


async def test_a_container_that_wants_a_model_gets_one(server: Any, answer: Any) -> None:
    sent = await body_sent(server, answer, prompt(), model_name="adapter-7")

    assert sent["model"] == "adapter-7"


async def test_nova_is_sent_only_fields_it_knows(server: Any, answer: Any) -> None:
    nova = {"dialect": "nova", "model_name": "x", "reasoning_effort": "low", "logprobs": 5}
    sent = await body_sent(server, answer, prompt(temperature=None), **nova)

    assert opened(server.url, **nova).channels == ("text",)
    assert sent.keys() == {
        "messages", "max_tokens", "reasoning_effort", "logprobs", "top_logprobs"
    }  # fmt: skip
    assert sent["reasoning_effort"] == "low"


@pytest.mark.parametrize("channel", ["schema", "tool"])
async def test_a_container_is_made_to_answer_in_a_form(
    server: Any, answer: Any, channel: Any
) -> None:
    sent = await body_sent(server, answer, prompt(channel=channel, schema=SCHEMA))

    assert ("response_format" in sent, "tool_choice" in sent) == (
        channel == "schema",
        channel == "tool",
    )


@pytest.mark.parametrize(
    ("region", "url"),
    [
        ("eu-west-1", "https://runtime.sagemaker.eu-west-1.amazonaws.com/endpoints/a/invocations"),
        (
            "cn-north-1",
            "https://runtime.sagemaker.cn-north-1.amazonaws.com.cn/endpoints/a/invocations",
        ),
    ],
)
def test_an_endpoint_is_found_in_its_region_as_botocore_finds_it(region: str, url: str) -> None:
    from botocore.session import get_session

    client = get_session().create_client(
        "sagemaker-runtime", region, aws_access_key_id="a", aws_secret_access_key="b"
    )
    assert invocations_url(region, "a", None) == url
    assert url.startswith(client.meta.endpoint_url + "/")


NAMES = st.from_regex(r"[a-zA-Z0-9](-?[a-zA-Z0-9]){0,20}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=60)


async def test_the_request_is_the_one_that_botocore_sends(server: Any, answer: Any) -> None:
    """Method, path, body and what is signed; botocore is given the body, for it knows no chat."""
    aioboto3 = pytest.importorskip("aioboto3")
    server.will(answer(200, chat()))
    session = aioboto3.Session(*list(KEYS.values()))
    loop = asyncio.get_running_loop()

    async with session.client("sagemaker-runtime", endpoint_url=server.url) as client:

        async def compare(name: str, component: str, text: str) -> None:
            judge = opened(server.url, inference_component=component)
            judge.model = name
            server.received.clear()
            await ask(judge, messages=(Message("user", text),))
            await judge.aclose()
            mine = server.received[0]
            await client.invoke_endpoint(
                EndpointName=name,
                InferenceComponentName=component,
                ContentType="application/json",
                Body=mine.body,
            )
            theirs = server.received[1]
            assert (mine.method, mine.target, mine.body) == (
                theirs.method,
                theirs.target,
                theirs.body,
            )
            for header in ("host", "content-type", "x-amz-security-token", COMPONENT):
                assert mine.headers[header] == theirs.headers[header]
            scopes = [scope(one.headers["authorization"]) for one in (mine, theirs)]
            assert scopes[0] == scopes[1] == ["us-east-1", "sagemaker", "aws4_request"]
            assert COMPONENT in signed(mine) & signed(theirs)
            assert PREFIX in signed(mine)

        @settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
        @given(NAMES, NAMES, TEXT)
        def run(name: str, component: str, text: str) -> None:
            asyncio.run_coroutine_threadsafe(compare(name, component, text), loop).result(20)

        await asyncio.to_thread(run)


COMPONENT = "x-amzn-sagemaker-inference-component"
PREFIX = "x-amzn-sagemaker-prefix-aware-id"


def scope(authorization: str) -> list[str]:
    return authorization.split(",", maxsplit=1)[0].split("/")[2:]


def signed(request: Any) -> set[str]:
    names = request.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]
    return set(names.split(";"))


async def test_prompts_of_a_rubric_share_a_prefix_id_and_other_rubrics_have_others(
    server: Any, judge: Any, answer: Any
) -> None:
    server.will(answer(200, chat()))
    await ask(judge)
    await ask(judge, messages=(Message("system", "the rubric"), Message("user", "another")))
    await ask(judge, question=Question(criteria=(), task="", response=""))
    first, same, other = (one.headers[PREFIX] for one in server.received)

    assert first == same != other
    assert first == prefix_id("the rubric", (SCORE,))


@pytest.mark.parametrize("status", [200, 424])
async def test_a_bedrock_key_signs_nothing_here(server: Any, answer: Any, status: int) -> None:
    server.will(answer(status, chat()))
    judge = opened(server.url, {**KEYS, "AWS_BEARER_TOKEN_BEDROCK": "bedrock-api-key"})
    if status == 200:
        await ask(judge)
    else:
        with pytest.raises(CallError):
            await ask(judge)
    await judge.aclose()

    assert "bedrock-api-key" not in server.received[0].headers["authorization"]


async def test_a_body_over_the_limit_is_too_long_before_it_is_sent(server: Any, judge: Any) -> None:
    with pytest.raises(Denied) as caught:
        await ask(judge, messages=(Message("user", "x" * 6_291_456),))

    assert caught.value.reason == "too_long"
    assert server.received == []


def model_error(status: int, message: Any) -> Any:
    original = message if isinstance(message, str) else json.dumps(message)
    return {
        "ErrorCode": "CLIENT_ERROR_FROM_MODEL",
        "LogStreamArn": "arn:aws:logs:us-east-1:1:log-group:x",
        "Message": f'Received client error ({status}) from primary with message "{original}".',
        "OriginalMessage": original,
        "OriginalStatusCode": status,
    }


VLLM_TOO_LONG = {"object": "error", "message": "maximum context length is 8192", "code": 400}
VLLM_SCHEMA = {"error": {"message": "response_format is not supported", "type": "BadRequestError"}}


@pytest.mark.parametrize(
    ("original", "message", "name", "expected"),
    [
        (429, "slow down", "Throttled", {"throttled": True, "charged": False, "retry_after_s": 3.0}),
        (429, "{}", "Throttled", {"throttled": True}),
        (503, VLLM_SCHEMA, "Unavailable", {"charged": False, "max_retries": None}),
        (500, "<html>", "Unavailable", {"charged": True, "max_retries": 1, "backoff_s": 0.5}),
        (504, "", "Unavailable", {"charged": True, "max_retries": 1}),
        (0, "invocation timed out", "Unavailable", {"charged": True, "max_retries": 1}),
        (400, VLLM_TOO_LONG, "Denied", {"reason": "too_long"}),
        (413, "", "Denied", {"reason": "too_long"}),
        (400, VLLM_SCHEMA, "Denied", {"unsupported_channel": True}),
        (422, {"detail": "bad seed"}, "Denied", {"unsupported_channel": False}),
        (404, {"detail": "Not Found"}, "Denied", {"retryable": False}),
    ],
)  # fmt: skip
async def test_what_the_container_refused_is_read_out_of_the_424(
    server: Any, judge: Any, answer: Any, *, original: int, message: Any, name: str, expected: Any
) -> None:
    headers = {"x-amzn-errortype": "ModelError", "retry-after": "3"}
    server.will(answer(424, model_error(original, message), headers))
    with pytest.raises(CallError) as caught:
        await ask(judge)

    assert type(caught.value).__name__ == name
    assert {key: getattr(caught.value, key) for key in expected} == expected
    assert len(server.received) == 1


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"OriginalStatusCode": "x"}', b"[1]"])
async def test_a_424_that_says_nothing_is_a_model_that_failed(
    server: Any, judge: Any, answer: Any, body: bytes
) -> None:
    server.will(answer(424, body))
    with pytest.raises(Unavailable) as caught:
        await ask(judge)

    assert (caught.value.charged, caught.value.max_retries) == (True, 1)


@pytest.mark.parametrize(
    ("status", "code", "message", "expected"),
    [
        (403, "AccessDeniedException", "not authorized to perform: sagemaker:InvokeEndpoint",
         "allow sagemaker:InvokeEndpoint on arn:aws:sagemaker:us-east-1:<account>:endpoint/judge-endpoint"),
        (400, "ValidationError", "Endpoint Judge-Endpoint of account 1 not found.",
         "there is no endpoint Judge-Endpoint in us-east-1"),
        (400, "ValidationError", "Endpoint Judge-Endpoint is not in service", "wait until it is InService"),
        (400, "ValidationError", "Inference Component Name header is required for endpoints to which",
         "check sagemaker.inference_component"),
        (403, "UnrecognizedClientException", "x", "does not accept the credentials"),
        (302, "", "", "check sagemaker.endpoint_url"),
    ],
)  # fmt: skip
async def test_a_refusal_explains_in_one_sentence(
    server: Any, judge: Any, answer: Any, *, status: int, code: str, message: str, expected: str
) -> None:
    server.will(answer(status, {"Message": message}, {"x-amzn-errortype": code}))
    (line,) = await complaints(judge)

    assert expected in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("region", "partition"),
    [("us-gov-west-1", "aws-us-gov"), ("cn-north-1", "aws-cn"), ("eu-west-1", "aws")],
)
async def test_the_permission_is_named_in_the_regions_partition(
    server: Any, answer: Any, region: str, partition: str
) -> None:
    server.will(answer(403, {"Message": "no"}, {"x-amzn-errortype": "AccessDeniedException"}))
    judge = opened(server.url, {**KEYS, "AWS_REGION": region})
    (line,) = await complaints(judge)
    await judge.aclose()

    assert f"arn:{partition}:sagemaker:{region}:" in line


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        ({"error": "prediction failure", "code": 424}, "Unavailable", {"charged": True, "max_retries": 1}),
        ({"error": {"message": "queue full", "code": 429}}, "Throttled", {"charged": False}),
        ({"object": "error", "message": "overloaded", "code": 503}, "Unavailable", {"charged": False}),
        ({"error": "CUDA out of memory"}, "Unavailable", {"charged": True, "max_retries": 1}),
        (b'data: {"choices":[{"delta":{"content":"4"}}]}\n\ndata: {"error":{"message":"died"}}\n\n',
         "Unavailable", {"charged": True}),
    ],
)  # fmt: skip
async def test_an_error_that_came_with_status_200_is_an_error(
    server: Any, judge: Any, answer: Any, *, body: Any, name: str, expected: Any
) -> None:
    server.will(answer(200, body))
    with pytest.raises(CallError) as caught:
        await ask(judge)

    assert type(caught.value).__name__ == name
    assert {key: getattr(caught.value, key) for key in expected} == expected
    assert "cannot be read" not in str(caught.value)


async def test_without_a_region_it_says_which_setting_is_missing() -> None:
    judge = opened("http://127.0.0.1:9", {k: v for k, v in KEYS.items() if k != "AWS_REGION"})

    assert await complaints(judge) == ["no AWS region is set: set sagemaker.region or AWS_REGION"]
    await judge.aclose()


async def test_it_is_opened_by_the_settings(server: Any, answer: Any) -> None:
    server.will(answer(200, chat()))
    chosen = SageMakerSettings(endpoint_url=server.url, region="eu-west-3", inference_component="c")
    judge = open_backend(Settings(backend="sagemaker", model="e", sagemaker=chosen), KEYS)

    assert await complaints(judge) == []
    assert server.received[0].headers[COMPONENT] == "c"
    assert "eu-west-3/sagemaker" in server.received[0].headers["authorization"]
    assert repr(judge).startswith("SageMaker(e/c, chat, http://127.0.0.1")
    await judge.aclose()


@pytest.mark.parametrize(
    ("fault", "status", "charged"),
    [("model_throttled", 424, 2), ("model_busy", 424, 1), ("model_error", 424, 2),
     ("dependency_error", 530, 2), ("not_ready", 429, 1)],
)  # fmt: skip
async def test_what_passes_is_tried_again_and_what_was_not_charged_is_given_back(
    fault: Any, status: int, charged: int
) -> None:
    variables = {
        **REMOTE["sagemaker"].environ,
        "JUDGE_RETRY_BASE_S": "0.001",
        "JUDGE_RETRY_THROTTLED_BASE_S": "0.001",
        "JUDGE_RETRY_CAP_S": "0.01",
        "JUDGE_LIMITS_REQUESTS_PER_MINUTE": "6000",
    }
    async with simulate(SimulatorConfig(verify_sigv4=True, faults=(fault,), **SIGNER)) as simulator:
        told = {key: value.replace("@", simulator.url) for key, value in variables.items()}
        async with open_service(load_settings(None, told), environ=ENVIRON) as judge:
            (reward,) = await judge.score([Sample(id=1, response="Paris", reference="Paris")])
            spent = judge._assembly.targets[0].gate.statistics()

    assert reward.score is not None
    assert simulator.statistics().by_status == {200: 1, status: 1}
    assert (spent.in_flight, spent.charged) == (0, {"requests": charged})
