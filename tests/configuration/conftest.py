"""AWS on this machine: moto's server, real HTTP, with a bucket and a parameter store."""

from collections.abc import Iterator

import boto3
import pytest
from moto.server import ThreadedMotoServer


class Aws:
    """What the tests put where our code will read it."""

    bucket = "settings-of-ours"

    def __init__(self, url: str) -> None:
        keys = {"aws_access_key_id": "AKIDEXAMPLE", "aws_secret_access_key": "secret"}
        place = {"endpoint_url": url, "region_name": "us-east-1", **keys}
        self.url = url
        self._s3, self._ssm = boto3.client("s3", **place), boto3.client("ssm", **place)  # type: ignore[call-overload] # keywords
        self._s3.create_bucket(Bucket=self.bucket)

    def put(self, key: str, text: str) -> str:
        """Stores an object; gives the place to name."""
        self._s3.put_object(Bucket=self.bucket, Key=key, Body=text.encode())
        return f"s3://{self.bucket}/{key}"

    def delete(self, key: str) -> None:
        self._s3.delete_object(Bucket=self.bucket, Key=key)

    def store(self, name: str, text: str) -> str:
        """Stores an encrypted parameter; gives the place to name."""
        self._ssm.put_parameter(Name=name, Value=text, Type="SecureString", Overwrite=True)
        return f"ssm:{name}"


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def aws(moto_url: str) -> Aws:
    return Aws(moto_url)


@pytest.fixture
def environ(moto_url: str) -> dict[str, str]:
    """What the function's environment says of AWS."""
    return {
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "token",
        "AWS_ENDPOINT_URL_S3": moto_url,
        "AWS_ENDPOINT_URL_SSM": moto_url,
    }
