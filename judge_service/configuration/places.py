"""Reads texts from a file, `s3://bucket/key`, or `ssm:/parameter/name`."""

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from judge_service.aws.client import AwsClient
from judge_service.errors import CallError, Denied, SettingsError
from judge_service.http.failures import printable
from judge_service.http.json_body import read_object
from judge_service.settings import is_remote, read_file

ATTEMPTS = 2
"""Attempts, so that a cold start does not fail because of one lost packet."""


class Places:
    """Reads texts. It opens its client for the first remote text.

    environ: holds the client's credentials, region and endpoints.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._client: AwsClient | None = None

    def __repr__(self) -> str:
        return f"Places({self._client or 'files'})"

    async def aclose(self) -> None:
        """Closes the client."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def read(self, place: str) -> str:
        """Reads a text. Raises SettingsError with one sentence that names the place and the remedy."""
        if not is_remote(place):
            return await asyncio.to_thread(read_file, Path(place))
        if self._client is None:
            self._client = await asyncio.to_thread(AwsClient, self._environ)
        try:
            return await self._read_twice(self._client, place)
        except Denied as problem:  # no region, no credentials: the sentence says so
            raise SettingsError(f"{place}: {problem}") from None
        except CallError as problem:
            raise SettingsError(
                f"{place}: no answer; check the region and the network (inside a VPC S3 and SSM"
                " need an endpoint each)"
            ) from problem

    async def _read_twice(self, client: AwsClient, place: str) -> str:
        for _ in range(ATTEMPTS - 1):
            try:
                return await _read(client, place)
            except CallError as problem:
                if not problem.retryable:
                    raise
        return await _read(client, place)


async def _read(client: AwsClient, place: str) -> str:
    if place.startswith("ssm:"):
        return await _read_parameter(client, place)
    return await _read_object(client, place)


async def _read_object(client: AwsClient, place: str) -> str:
    bucket, _, key = place.removeprefix("s3://").partition("/")
    if not re.fullmatch(r"[A-Za-z0-9._-]{3,255}", bucket) or not key:
        raise SettingsError(f"{place}: is not an object; write s3://bucket/key")
    reply = await client.object(bucket, key)
    if reply.status != 200:
        action = f"s3:GetObject on arn:aws:s3:::{bucket}/{key}"
        raise _refused(place, reply.status, _xml(reply.body, "Code"), action)
    return _decoded(place, reply.body)


async def _read_parameter(client: AwsClient, place: str) -> str:
    name = place.removeprefix("ssm:")
    asked = {"Name": name, "WithDecryption": True}
    reply = await client.call("ssm", "AmazonSSM.GetParameter", asked, version="1.1")
    body = read_object(reply.body)
    if reply.status != 200:
        code = printable(body.get("__type")).rpartition("#")[2]
        action = f"ssm:GetParameter on the parameter {name}, and kms:Decrypt on its key"
        raise _refused(place, reply.status, code, action)
    text: Any = body.get("Parameter", {}).get("Value")
    if not isinstance(text, str):
        raise SettingsError(f"{place}: the reply is not a parameter; check AWS_ENDPOINT_URL_SSM")
    return text


def _refused(place: str, status: int, code: str, action: str) -> SettingsError:
    said = f"{status} {code}".strip()
    if status == 404 or "NotFound" in code or code == "NoSuchKey":
        return SettingsError(f"{place}: does not exist ({said}); create it")
    if status == 403 or code.startswith("AccessDenied"):
        return SettingsError(f"{place}: access is denied ({said}); allow {action}")
    if status == 301:
        return SettingsError(f"{place}: the bucket is in another region; set AWS_REGION to it")
    return SettingsError(f"{place}: cannot be read ({said}); allow {action}, and check the region")


def _decoded(place: str, data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{place}: is not UTF-8 text; save it as UTF-8") from None


def _xml(body: bytes, element: str) -> str:
    """The text of an XML element without child elements, `""` if there is none."""
    found = re.search(rf"<{element}>([^<]*)</{element}>", body[:4096].decode("utf-8", "replace"))
    return printable(found[1]) if found else ""
