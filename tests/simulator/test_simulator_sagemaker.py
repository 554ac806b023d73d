"""InvokeEndpoint of the simulator, checked with botocore's model of SageMaker."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from judge_service.simulator import Simulator, SimulatorConfig, simulate
from tests.simulator.raw_client import connect

KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
PATH = "/endpoints/judge/invocations"


@asynccontextmanager
async def runtime_client(simulator: Simulator) -> AsyncIterator[Any]:
    aioboto3 = pytest.importorskip("aioboto3")
    from aiobotocore.config import AioConfig

    session = aioboto3.Session(KEYS["access_key"], KEYS["secret_key"], None, "us-east-1")
    config = AioConfig(retries={"total_max_attempts": 1, "mode": "standard"})
    async with session.client(
        "sagemaker-runtime", endpoint_url=simulator.url, config=config
    ) as client:
        yield client


def chat(**members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "Good?"}], "max_tokens": 50, **members}


def invocation(name: str = "judge", **members: Any) -> dict[str, Any]:
    body = json.dumps(chat(**members)).encode()
    return {"EndpointName": name, "ContentType": "application/json", "Body": body}


async def test_botocores_client_is_answered_and_its_signature_accepted() -> None:
    async with (
        simulate(SimulatorConfig(verify_sigv4=True, **KEYS)) as simulator,
        runtime_client(simulator) as client,
    ):
        component = {"InferenceComponentName": "judge-component"}
        reply = await client.invoke_endpoint(**invocation(), **component)
        answer = json.loads(await reply["Body"].read())

        assert 0 <= float(answer["choices"][0]["message"]["content"]) <= 1
        assert reply["ContentType"] == "application/json"
        assert list(simulator.statistics().quotas) == ["judge"]


async def test_a_key_of_bedrock_or_a_signature_for_it_is_refused() -> None:
    config = SimulatorConfig(verify_sigv4=True, bearer_token="bedrock-key", **KEYS)
    async with simulate(config) as simulator, connect(simulator) as client:
        scope = "AKIDEXAMPLE/20261121/us-east-1/bedrock/aws4_request"
        signed = f"AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host, Signature={'0' * 64}"
        bearer = await client.ask(chat(), PATH, authorization="Bearer bedrock-key")
        other = await client.ask(chat(), PATH, authorization=signed)

    assert (bearer.status, other.status) == (403, 403)
    assert "scoped to service 'sagemaker'" in other.json["Message"]


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("not_ready", "ModelNotReadyException", 429),
        ("internal_error", "InternalFailure", 500),
        ("unavailable", "ServiceUnavailable", 503),
        ("dependency_error", "InternalDependencyException", 530),
        ("validation", "ValidationError", 400),
        ("not_found", "ValidationError", 400),
    ],
)
async def test_every_error_of_the_service_is_its_named_exception(
    fault: Any, code: str, status: int
) -> None:
    config = SimulatorConfig(faults=(fault,))
    async with simulate(config) as simulator, runtime_client(simulator) as client:
        with pytest.raises(getattr(client.exceptions, code)) as caught:
            await client.invoke_endpoint(**invocation())

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Message"]
    assert simulator.statistics().by_status == {status: 1}


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [("throttle", "ThrottlingException", 429), ("access_denied", "AccessDeniedException", 403)],
)
async def test_errors_that_botocores_model_does_not_name_have_their_code(
    fault: Any, code: str, status: int
) -> None:
    config = SimulatorConfig(faults=(fault,))
    async with simulate(config) as simulator, runtime_client(simulator) as client:
        with pytest.raises(ClientError, match=code) as caught:
            await client.invoke_endpoint(**invocation())

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize(
    ("fault", "original"),
    [("model_throttled", 429), ("model_busy", 503), ("model_error", 500), ("model_timeout", 0)],
)
async def test_what_the_container_refuses_is_a_model_error_with_its_status(
    fault: Any, original: int
) -> None:
    config = SimulatorConfig(faults=(fault,))
    async with simulate(config) as simulator, runtime_client(simulator) as client:
        with pytest.raises(client.exceptions.ModelError) as caught:
            await client.invoke_endpoint(**invocation())

    response = caught.value.response
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 424
    assert response["OriginalStatusCode"] == original
    assert response["OriginalMessage"] in response["Error"]["Message"]


@pytest.mark.parametrize(
    ("config", "members", "words"),
    [
        ({}, {"stream": True}, "without streaming"),
        ({}, {"messages": []}, "not valid"),
        ({"max_input_tokens": 1}, {}, "too long"),
        ({"refuses_logprobs": True}, {"logprobs": True}, "logprobs"),
    ],
)
async def test_a_body_the_container_does_not_take_is_its_error_400(
    config: Any, members: Any, words: str
) -> None:
    async with simulate(SimulatorConfig(**config)) as simulator, connect(simulator) as client:
        reply = await client.ask(chat(**members), PATH)

    assert (reply.status, reply.json["OriginalStatusCode"]) == (424, 400)
    assert words in json.loads(reply.json["OriginalMessage"])["error"]["message"]


async def test_chat_completions_give_the_models_own_status_and_need_a_model() -> None:
    faults = ("model_throttled", "model_busy", "model_error")
    async with simulate(SimulatorConfig(faults=faults)) as simulator, connect(simulator) as client:
        named = chat(model="m")
        statuses = [(await client.ask(named, "/v1/chat/completions")).status for _ in faults]
        nameless = await client.ask(chat(), "/v1/chat/completions")

    assert statuses == [429, 503, 500]
    assert (nameless.status, "names no model" in nameless.json["error"]["message"]) == (400, True)
