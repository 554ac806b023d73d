"""botocore, AWS's client, with the simulator: its parser checks the wire format."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError

from judge_service.simulator import Simulator, SimulatorConfig, simulate
from tests.simulator.raw_client import asking, connect

MODEL = "us.amazon.nova-lite-v1:0"
KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
SIGNED = SimulatorConfig(verify_sigv4=True, **KEYS)
TOOL = {"toolSpec": {"name": "verdict", "inputSchema": {"json": {"type": "object"}}}}


@asynccontextmanager
async def converse_client(
    simulator: Simulator,
    *,
    access_key: str = KEYS["access_key"],
    secret_key: str = KEYS["secret_key"],
    session_token: str | None = None,
    region: str = "us-east-1",
) -> AsyncIterator[Any]:
    aioboto3 = pytest.importorskip("aioboto3")
    from aiobotocore.config import AioConfig

    session = aioboto3.Session(access_key, secret_key, session_token, region)
    config = AioConfig(retries={"total_max_attempts": 1, "mode": "standard"})
    async with session.client(
        "bedrock-runtime", endpoint_url=simulator.url, config=config
    ) as client:
        yield client


def prompt(text: str = "How similar?") -> dict[str, Any]:
    return {"modelId": MODEL, **asking(text)}


async def test_an_answer_is_read_whole() -> None:
    async with simulate() as simulator, converse_client(simulator) as client:
        reply = await client.converse(**prompt())

    assert 0 <= float(reply["output"]["message"]["content"][0]["text"]) <= 1
    assert reply["stopReason"] == "end_turn"
    assert reply["usage"]["totalTokens"] == 4
    assert reply["metrics"]["latencyMs"] == 0
    assert len(reply["ResponseMetadata"]["RequestId"]) == 36


async def test_a_tool_call_is_read_whole() -> None:
    config = {"tools": [TOOL], "toolChoice": {"tool": {"name": "verdict"}}}
    async with simulate() as simulator, converse_client(simulator) as client:
        reply = await client.converse(**prompt(), toolConfig=config)

    assert reply["output"]["message"]["content"][0]["toolUse"]["name"] == "verdict"
    assert reply["stopReason"] == "tool_use"


@pytest.mark.parametrize(
    ("fault", "code", "status"),
    [
        ("throttle", "ThrottlingException", 429),
        ("not_ready", "ModelNotReadyException", 429),
        ("internal_error", "InternalServerException", 500),
        ("unavailable", "ServiceUnavailableException", 503),
        ("model_timeout", "ModelTimeoutException", 408),
        ("model_error", "ModelErrorException", 424),
        ("validation", "ValidationException", 400),
        ("access_denied", "AccessDeniedException", 403),
        ("not_found", "ResourceNotFoundException", 404),
    ],
)
async def test_every_error_is_its_named_exception(fault: Any, code: str, status: int) -> None:
    config = SimulatorConfig(faults=(fault,))
    async with simulate(config) as simulator, converse_client(simulator) as client:
        with pytest.raises(getattr(client.exceptions, code)) as caught:
            await client.converse(**prompt())

    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert caught.value.response["Error"]["Message"]
    if fault == "model_error":
        assert caught.value.response["originalStatusCode"] == 500


async def test_a_signed_call_is_accepted() -> None:
    async with simulate(SIGNED) as simulator, converse_client(simulator) as client:
        for text in ("plain", "Grüße \U0001f600 \x00"):
            assert (await client.converse(**prompt(text)))["stopReason"] == "end_turn"
        arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.amazon.nova-lite-v1:0"
        await client.converse(modelId=arn, **asking())

        assert list(simulator.statistics().quotas) == [MODEL, arn]


async def test_a_session_token_is_checked() -> None:
    config = SimulatorConfig(verify_sigv4=True, session_token="IQoJb3JpZ2lu//==", **KEYS)
    async with simulate(config) as simulator:
        async with converse_client(simulator, session_token=config.session_token) as client:
            await client.converse(**prompt())
        async with converse_client(simulator, session_token="other") as client:
            with pytest.raises(ClientError, match="UnrecognizedClientException"):
                await client.converse(**prompt())


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret_key": "another"}, "InvalidSignatureException"),
        ({"access_key": "AKIDOTHER"}, "UnrecognizedClientException"),
        ({"region": "eu-west-1"}, "InvalidSignatureException.*us-east-1"),
    ],
)
async def test_wrong_credentials_are_refused(wrong: dict[str, str], code: str) -> None:
    async with simulate(SIGNED) as simulator, converse_client(simulator, **wrong) as client:
        with pytest.raises(ClientError, match=code):
            await client.converse(**prompt())


@pytest.mark.parametrize("off_s", [-310, 310])
async def test_a_signature_of_another_time_is_refused(off_s: float) -> None:
    def wall_clock() -> float:
        return time.time() + off_s

    async with (
        simulate(SIGNED, wall_clock=wall_clock) as simulator,
        converse_client(simulator) as client,
    ):
        with pytest.raises(ClientError, match=r"InvalidSignatureException.*Signature"):
            await client.converse(**prompt())


async def test_a_signature_within_the_skew_is_accepted() -> None:
    async with (
        simulate(SIGNED, wall_clock=lambda: time.time() + 280) as simulator,
        converse_client(simulator) as client,
    ):
        reply = await client.converse(**prompt())

    assert reply["stopReason"] == "end_turn"


async def signed_headers(body: bytes) -> dict[str, str]:
    """The headers that botocore's own signer makes for the body."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    request = AWSRequest(
        "POST",
        f"https://bedrock/model/{MODEL.replace(':', '%3A')}/converse",
        {"host": "bedrock", "content-type": "application/json", "x-amz-meta": "a   b"},
        body,
    )
    SigV4Auth(Credentials(KEYS["access_key"], KEYS["secret_key"]), "bedrock", "us-east-1").add_auth(
        request
    )
    return {name.lower(): value for name, value in request.headers.items()}


BODY = b'{"messages":[{"role":"user","content":[{"text":"x"}]}],"inferenceConfig":{"maxTokens":5}}'


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        ({}, None),
        ({"x-amz-meta": "a b"}, None),
        ({"x-amz-meta": "c"}, "InvalidSignatureException"),
        ({"content-type": "text/plain"}, "InvalidSignatureException"),
        ({"x-amz-added": "later"}, "InvalidSignatureException"),
        ({"x-amz-date": "yesterday"}, "InvalidSignatureException"),
        ({"x-amz-date": "20000101T000000Z"}, "InvalidSignatureException"),
        ({"authorization": ""}, "MissingAuthenticationTokenException"),
        ({"authorization": "AWS4-HMAC-SHA256 Credential=x"}, "IncompleteSignatureException"),
        ({"authorization": "Bearer x"}, "IncompleteSignatureException"),
    ],
)
async def test_a_tampered_request_is_refused(tamper: dict[str, str], code: str | None) -> None:
    headers = {**await signed_headers(BODY), **tamper}
    async with simulate(SIGNED) as simulator, connect(simulator) as client:
        reply = await client.ask(BODY, **headers)
        changed = await client.ask(BODY.replace(b'"x"', b'"y"'), **headers)

    assert reply.status == (200 if code is None else 403)
    assert reply.headers.get("x-amzn-errortype", "").split(":")[0] == (code or "").lower()
    assert changed.status == 403


async def test_a_path_that_was_not_signed_is_refused() -> None:
    headers = await signed_headers(BODY)
    async with simulate(SIGNED) as simulator, connect(simulator) as client:
        reply = await client.ask(BODY, "/model/another/converse", **headers)

    assert reply.headers["x-amzn-errortype"].startswith("invalidsignatureexception")


async def test_a_key_of_bedrock_is_accepted_instead_of_a_signature() -> None:
    config = SimulatorConfig(verify_sigv4=True, bearer_token="bedrock-api-key-x", **KEYS)
    headers = await signed_headers(BODY)
    async with simulate(config) as simulator, connect(simulator) as client:
        bearer = "Bearer bedrock-api-key-x"
        assert (await client.ask(BODY, authorization=bearer)).status == 200
        assert (await client.ask(BODY, **headers)).status == 200
        assert (await client.ask(BODY, authorization="Bearer other")).status == 403
        assert (await client.ask(BODY)).status == 403
