"""Our calls to S3 and to services of the JSON protocol, against moto's server and botocore's signatures."""

import datetime as dt
from unittest import mock

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import msgspec
import pytest

from judge_service.aws.client import AwsClient, AwsRequest
from judge_service.aws.credentials import Credentials
from judge_service.aws.sigv4 import sign
from judge_service.errors import CredentialsError
from tests.configuration.conftest import Aws

NOW = dt.datetime(2026, 11, 25, 12, 30, 5, tzinfo=dt.UTC)


TARGET = {"content-type": "application/x-amz-json-1.1", "x-amz-target": "AmazonSSM.GetParameter"}


@pytest.mark.parametrize("token", [None, "session/token=="])
@pytest.mark.parametrize(
    "asked",
    [
        AwsRequest(
            method="GET", service="s3", url="https://bucket.s3.eu-west-1.amazonaws.com/a%20b/c.toml"
        ),
        AwsRequest(method="GET", service="s3", url="http://127.0.0.1:5000/bucket/caf%C3%A9~.toml"),
        AwsRequest(
            service="ssm",
            url="https://ssm.eu-west-1.amazonaws.com/",
            headers=TARGET,
            body=b'{"Name":"/judge"}',
        ),
    ],
)
def test_signatures_are_botocores(asked: AwsRequest, token: str | None) -> None:
    ours = sign(
        asked.method,
        asked.url,
        asked.headers,
        asked.body,
        Credentials("AKIDEXAMPLE", "secret+key", token),
        region="eu-west-1",
        service=asked.service,
        now_s=NOW.timestamp(),
    )

    request = botocore.awsrequest.AWSRequest(
        method=asked.method,
        url=asked.url,
        data=asked.body,
        headers={**asked.headers, "X-Amz-Content-SHA256": ours["x-amz-content-sha256"]},
    )
    keys = botocore.credentials.Credentials("AKIDEXAMPLE", "secret+key", token)
    auth = botocore.auth.S3SigV4Auth if asked.service == "s3" else botocore.auth.SigV4Auth
    moment = NOW.replace(tzinfo=None)
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=moment):
        auth(keys, asked.service, "eu-west-1").add_auth(request)
    assert ours["authorization"] == request.headers["Authorization"]


async def test_an_object_is_read_as_it_was_stored(aws: Aws, environ: dict[str, str]) -> None:
    aws.put("a folder/jüdge~(1).toml", "text \N{SNOWMAN}")

    async with opened(environ) as client:
        reply = await client.object(aws.bucket, "a folder/jüdge~(1).toml")

    assert (reply.status, reply.body.decode()) == (200, "text \N{SNOWMAN}")


async def test_a_service_of_the_json_protocol_answers(aws: Aws, environ: dict[str, str]) -> None:
    aws.store("/judge/config", "a text")

    async with opened(environ) as client:
        body = {"Name": "/judge/config", "WithDecryption": True}
        reply = await client.call("ssm", "AmazonSSM.GetParameter", body, version="1.1")

    assert msgspec.json.decode(reply.body)["Parameter"]["Value"] == "a text"


async def test_a_bedrock_api_key_is_not_sent_to_other_services(
    aws: Aws, environ: dict[str, str]
) -> None:
    aws.put("judge.toml", "text")

    async with opened({**environ, "AWS_BEARER_TOKEN_BEDROCK": "key"}) as client:
        reply = await client.object(aws.bucket, "judge.toml")

    assert reply.status == 200


@pytest.mark.parametrize(
    ("bucket", "url"),
    [
        ("plain-1", "https://plain-1.s3.eu-west-1.amazonaws.com/k"),
        ("with.dots", "https://s3.eu-west-1.amazonaws.com/with.dots/k"),
    ],
)
async def test_a_bucket_is_part_of_the_host_where_the_certificate_allows_it(
    bucket: str, url: str, environ: dict[str, str]
) -> None:
    plain = {name: text for name, text in environ.items() if "ENDPOINT" not in name}

    async with opened({**plain, "AWS_REGION": "eu-west-1"}) as client:
        assert await client._object_url(bucket, "k") == url


async def test_credentials_that_stay_expired_are_one_clear_error(environ: dict[str, str]) -> None:
    reply = mock.Mock(status=400, body=b'{"__type":"ExpiredTokenException"}')

    async with opened(environ) as client:
        with (
            mock.patch.object(client._transport, "post", return_value=reply),
            pytest.raises(CredentialsError, match="have expired"),
        ):
            await client.call("ssm", "AmazonSSM.GetParameter", {})


class opened:  # noqa: N801 - reads like the function it stands for
    """A client for the length of a block."""

    def __init__(self, environ: dict[str, str]) -> None:
        self._client = AwsClient(environ)

    async def __aenter__(self) -> AwsClient:
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()
