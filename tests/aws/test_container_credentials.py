"""Keys from a container's endpoint, over real HTTP."""

import asyncio
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from judge_service.aws.container_credentials import ASK_AGAIN_S, Container, container_url
from judge_service.aws.credentials import Credentials, Session
from judge_service.aws.identity_source import identity_source
from judge_service.errors import CredentialsError, Denied

MINUTE_S = 60.0
EXPIRES_S = 1_800_000_000.0  # 2027-01-15T08:00:00Z


class Endpoint:
    """Gives keys, the next ones each time it is asked, and remembers the tokens it was shown."""

    def __init__(self) -> None:
        endpoint = self
        self.shown: list[str | None] = []
        self.status = 200
        self.body: bytes | None = None

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                endpoint.shown.append(self.headers["authorization"])
                body = endpoint.body or endpoint.keys()
                self.send_response(endpoint.status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/keys?v=2"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def keys(self) -> bytes:
        number = len(self.shown)
        said = {
            "AccessKeyId": f"AKID{number}",
            "SecretAccessKey": "secret",
            "Token": "token",
            "Expiration": "2027-01-15T08:00:00Z",
            "RoleArn": "something we do not read",
        }
        return json.dumps(said).encode()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    endpoint = Endpoint()
    yield endpoint
    endpoint.close()


def environ(endpoint: Endpoint, **more: str) -> dict[str, str]:
    return {"AWS_CONTAINER_CREDENTIALS_FULL_URI": endpoint.url, "AWS_REGION": "eu-west-1", **more}


async def test_keys_are_asked_for_once_however_many_calls_wait(endpoint: Endpoint) -> None:
    source = identity_source(environ(endpoint, AWS_CONTAINER_AUTHORIZATION_TOKEN="let me in"))

    keys = await asyncio.gather(*[source.get() for _ in range(20)])

    assert set(keys) == {Credentials("AKID1", "secret", "token")}
    assert endpoint.shown == ["let me in"]
    assert await source.region() == "eu-west-1"
    assert "secret" not in repr(source)


async def test_keys_are_renewed_five_minutes_before_they_expire(endpoint: Endpoint) -> None:
    now_s = EXPIRES_S - 6 * MINUTE_S
    source = Container(environ(endpoint), "eu-west-1", now=lambda: now_s)
    await source.get()
    await source.get()
    assert len(endpoint.shown) == 1

    now_s = EXPIRES_S - 4 * MINUTE_S
    await source.get()

    assert len(endpoint.shown) == 2


async def test_refused_keys_are_renewed_once(endpoint: Endpoint) -> None:
    source = Container(environ(endpoint), "eu-west-1", now=lambda: 0.0)
    old = await source.get()

    new = await asyncio.gather(*[source.renew(old) for _ in range(5)])

    assert set(new) == {Credentials("AKID2", "secret", "token")}
    assert len(endpoint.shown) == 2


async def test_the_token_may_lie_in_a_file(endpoint: Endpoint, tmp_path: Path) -> None:
    (file := tmp_path / "token").write_text("from a file\n")
    variables = environ(endpoint, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=str(file))

    await Container(variables, None).get()

    assert endpoint.shown == ["from a file"]


@pytest.mark.parametrize(
    ("status", "body", "says"),
    [
        (403, b"no", "refused .status 403"),
        (200, b"[]", "another form"),
        (200, b"\xff", "another form"),
    ],
)
async def test_what_is_no_answer_is_one_clear_error(
    status: int, body: bytes, says: str, endpoint: Endpoint
) -> None:
    endpoint.status, endpoint.body = status, body

    with pytest.raises(CredentialsError, match=says):
        await Container(environ(endpoint), None).get()


async def test_nobody_there_and_no_region_are_clear_errors() -> None:
    source = Container({"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://127.0.0.1:9/"}, None)

    with pytest.raises(CredentialsError, match="the endpoint does not answer"):
        await source.get()
    with pytest.raises(Denied, match="AWS_REGION"):
        await source.region()


@pytest.mark.parametrize("url", ["http://example.com/keys", "http://10.0.0.1/keys", "nonsense"])
def test_keys_are_not_asked_for_where_anybody_could_listen(url: str) -> None:
    with pytest.raises(CredentialsError, match="is not trusted without TLS"):
        Container({"AWS_CONTAINER_CREDENTIALS_FULL_URI": url}, None)


def test_the_relative_form_means_the_address_of_ecs() -> None:
    variables = {"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/x"}

    assert container_url(variables) == "http://169.254.170.2/v2/x"
    assert isinstance(identity_source(variables), Container)


def test_keys_in_the_environment_and_a_profile_go_first(endpoint: Endpoint) -> None:
    keys = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret"}
    sources: list[Any] = [
        identity_source(environ(endpoint, **keys)),
        identity_source(environ(endpoint), profile="team"),
    ]

    assert not any(isinstance(source, Container) for source in sources)
    assert isinstance(sources[1], Session)


class Clock:
    """A wall clock that a test sets, seconds since 1970."""

    now = EXPIRES_S - 4 * MINUTE_S

    def __call__(self) -> float:
        return self.now


async def test_valid_keys_are_kept_while_the_endpoint_fails_and_it_is_asked_with_a_pause(
    endpoint: Endpoint,
) -> None:
    source = Container(environ(endpoint), "eu-west-1", now=(clock := Clock()))
    keys = await source.get()
    endpoint.status = 500
    clock.now += ASK_AGAIN_S

    assert set(await asyncio.gather(*[source.get() for _ in range(50)])) == {keys}
    assert len(endpoint.shown) == 2

    clock.now += ASK_AGAIN_S
    assert await source.get() == keys
    assert len(endpoint.shown) == 3

    endpoint.status = 200
    clock.now += ASK_AGAIN_S
    assert (await source.get()) == Credentials("AKID4", "secret", "token")


async def test_expired_keys_are_not_kept(endpoint: Endpoint) -> None:
    source = Container(environ(endpoint), "eu-west-1", now=(clock := Clock()))
    await source.get()
    endpoint.status, clock.now = 500, EXPIRES_S

    with pytest.raises(CredentialsError, match="status 500"):
        await source.get()


async def test_an_endpoint_that_gives_the_same_keys_is_not_asked_by_every_call(
    endpoint: Endpoint,
) -> None:
    endpoint.body = endpoint.keys()
    source = Container(environ(endpoint), "eu-west-1", now=(clock := Clock()))
    keys = await source.get()
    for _ in range(50):
        assert await source.get() == keys
    assert len(endpoint.shown) == 1

    refusals = [source.renew(keys) for _ in range(50)]
    assert all(
        isinstance(one, CredentialsError)
        for one in await asyncio.gather(*refusals, return_exceptions=True)
    )
    assert len(endpoint.shown) == 2

    clock.now += ASK_AGAIN_S
    endpoint.body = None
    assert await source.renew(keys) == Credentials("AKID3", "secret", "token")
