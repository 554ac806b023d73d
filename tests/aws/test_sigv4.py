"""Our signatures are botocore's."""

import datetime as dt
import string
from typing import Any
from unittest import mock
from urllib.parse import quote

import botocore.auth
import botocore.awsrequest
import botocore.credentials
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from judge_service.aws.credentials import Credentials
from judge_service.aws.sigv4 import NO_HEADERS, Signer
from judge_service.backends.bedrock.backend import converse_url, endpoint
from judge_service.backends.chat.sagemaker import COMPONENT, PREFIX_ID, invocations_url

KEY_CHARACTERS = string.ascii_letters + string.digits + "+/="
MODELS = st.one_of(
    st.from_regex(
        r"(us\.|eu\.|global\.)?[a-z0-9-]{1,20}\.[a-z0-9-]{1,40}(:[0-9]{1,2})?", fullmatch=True
    ),
    st.from_regex(
        r"arn:aws:bedrock:[a-z0-9-]{1,20}:[0-9]{12}:(application-)?inference-profile/[a-zA-Z0-9-:.]{1,40}",
        fullmatch=True,
    ),
    st.text(
        st.characters(codec="utf-8", categories=["L", "N", "P", "S", "Zs"]), min_size=3, max_size=40
    ),
)
CREDENTIALS = st.builds(
    Credentials,
    st.text(string.ascii_uppercase + string.digits, min_size=16, max_size=20),
    st.text(KEY_CHARACTERS, min_size=1, max_size=40),
    st.none() | st.text(KEY_CHARACTERS, min_size=1, max_size=400),
)
REGIONS = st.from_regex(r"[a-z]{2}(-gov)?-[a-z]{4,9}-[1-9]", fullmatch=True)
TIMES = st.datetimes(dt.datetime(2020, 1, 1), dt.datetime(2099, 1, 1))  # noqa: DTZ001 - botocore wants naive UTC


def signed_by_botocore(  # noqa: PLR0917 - what is signed
    url: str,
    region: str,
    body: Any,
    credentials: Credentials,
    time: Any,
    more: Any = NO_HEADERS,
    service: str = "bedrock",
) -> Any:
    headers = {"content-type": "application/json", **more}
    request = botocore.awsrequest.AWSRequest(method="POST", url=url, data=body, headers=headers)
    keys = botocore.credentials.Credentials(
        credentials.access_key, credentials.secret_key, credentials.token
    )
    with mock.patch.object(botocore.auth, "get_current_datetime", return_value=time):
        botocore.auth.SigV4Auth(keys, service, region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


@settings(deadline=None)
@given(
    model=MODELS,
    credentials=CREDENTIALS,
    region=REGIONS,
    body=st.binary(max_size=300),
    time=TIMES,
    endpoint_url=st.sampled_from(
        [
            None,
            "http://127.0.0.1:9090",
            "https://example.com:443",
            "http://[::1]:80/base/",
            "https://Host.example:8443",
        ]
    ),
)
def test_the_headers_are_the_ones_botocore_makes(
    *, model: str, credentials: Credentials, region: str, body: Any, time: Any, endpoint_url: Any
) -> None:
    url = converse_url(endpoint(region, endpoint_url), model)
    now_s = time.replace(tzinfo=dt.UTC).timestamp()
    ours = Signer(url, region, "bedrock").sign(body, credentials, now_s)
    assert ours == signed_by_botocore(url, region, body, credentials, time)


NAMES = st.from_regex(r"[a-zA-Z0-9]([a-zA-Z0-9-]{0,20}[a-zA-Z0-9])?", fullmatch=True)


@settings(deadline=None)
@given(name=NAMES, component=NAMES, credentials=CREDENTIALS, region=REGIONS, time=TIMES)
def test_headers_of_sagemaker_are_signed_as_botocore_signs_them(
    name: str, component: str, credentials: Credentials, region: str, time: Any
) -> None:
    url = invocations_url(region, name, None)
    more = {COMPONENT: component, PREFIX_ID: "0123456789abcdef"}
    now_s = time.replace(tzinfo=dt.UTC).timestamp()
    ours = Signer(url, region, "sagemaker").sign(b"{}", credentials, now_s, more)
    assert ours == signed_by_botocore(url, region, b"{}", credentials, time, more, "sagemaker")


@settings(deadline=None)
@given(st.lists(st.tuples(CREDENTIALS, TIMES, st.binary(max_size=20)), min_size=2, max_size=6))
def test_a_kept_key_is_never_used_for_other_credentials_or_another_day(calls: Any) -> None:
    url = converse_url(endpoint("us-east-1", None), "m:0")
    signer = Signer(url, "us-east-1", "bedrock")
    for credentials, time, body in calls:
        now_s = time.replace(tzinfo=dt.UTC).timestamp()
        fresh = Signer(url, "us-east-1", "bedrock").sign(body, credentials, now_s)
        assert signer.sign(body, credentials, now_s) == fresh


@pytest.mark.parametrize("second", ["2026-12-31T23:59:59.999", "2027-01-01T00:00:00"])
def test_the_day_rolls_over_at_midnight_utc(second: str) -> None:
    time = dt.datetime.fromisoformat(second)
    url = converse_url(endpoint("eu-west-1", None), "a.b:0")
    signer = Signer(url, "eu-west-1", "bedrock")
    credentials = Credentials("AKIDEXAMPLE", "secret")
    signer.sign(b"", credentials, time.replace(tzinfo=dt.UTC).timestamp() - 1)
    ours = signer.sign(b"", credentials, time.replace(tzinfo=dt.UTC).timestamp())
    assert ours == signed_by_botocore(url, "eu-west-1", b"", credentials, time)


def test_a_model_id_is_encoded_once_in_the_url() -> None:
    url = converse_url(endpoint("us-east-1", None), "us.amazon.nova-lite-v1:0")
    assert url == (
        "https://bedrock-runtime.us-east-1.amazonaws.com/model/us.amazon.nova-lite-v1%3A0/converse"
    )
    assert quote("arn:a/b", safe="") in converse_url("http://x", "arn:a/b")


def test_neither_secrets_nor_tokens_are_printed() -> None:
    credentials = Credentials("AKIDEXAMPLE", "secret-key", "session-token")
    shown = repr(credentials) + repr(Signer("http://x/", "us-east-1", "bedrock"))
    assert "secret-key" not in shown
    assert "session-token" not in shown
