"""Certificates and proxies of the transport, with a real TLS server and a real proxy on the loopback."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

from judge_service.backends.bedrock.sdk import BedrockSdk
from judge_service.errors import SettingsError, Unavailable
from judge_service.flow import Request
from judge_service.http.transport import HttpTransport
from judge_service.settings import BedrockSettings, HttpSettings
from judge_service.values import Message, Prompt, Question

ANSWER = (
    b'{"output":{"message":{"role":"assistant","content":[{"text":"1"}]}},"stopReason":"end_turn",'
    b'"usage":{"inputTokens":2,"outputTokens":1,"totalTokens":3},"metrics":{"latencyMs":1}}'
)
KEYS = {"AWS_ACCESS_KEY_ID": "A", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "eu-west-1"}
PROMPT = Prompt(
    question=Question(criteria=(), task="", response=""), messages=(Message("user", "?"),)
)


class Proxy:
    """Tunnels CONNECT to the loopback, whatever the host, and answers plain requests itself."""

    def __init__(self) -> None:
        self.heads: list[str] = []
        self.refusal = b""
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.heads.append(head)
        if self.refusal or not head.startswith("CONNECT "):
            writer.write(self.refusal or ok(ANSWER))
        else:
            port = int(head.split()[1].rpartition(":")[2])
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
            await asyncio.gather(pipe(reader, far_writer), pipe(far_reader, writer))
        await writer.drain()
        writer.close()
        await writer.wait_closed()


async def pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while piece := await reader.read(65536):
        writer.write(piece)
    writer.close()


def ok(body: bytes) -> bytes:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head % len(body) + body


async def serve_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = head.partition(b"content-length:")[2].split(b"\r\n")[0]
        await reader.readexactly(int(length or 0))
        writer.write(ok(ANSWER))


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


class Listeners:
    """Servers on the loopback, whose connections end with them."""

    def __init__(self) -> None:
        self.servers: list[asyncio.Server] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def open(self, answer: Any, context: ssl.SSLContext | None = None) -> int:
        """Starts one and gives its port."""

        async def follow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                await answer(reader, writer)
            writer.transport.abort()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self.tasks.add(asyncio.create_task(follow(reader, writer)))

        server = await asyncio.start_server(accept, "127.0.0.1", 0, ssl=context)
        self.servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def aclose(self) -> None:
        for server in self.servers:
            server.close()
        await asyncio.wait_for(asyncio.gather(*self.tasks), 2.0)
        await asyncio.sleep(0)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(ca: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    ca.cert_pem.write_to_path(str(path))
    return str(path)


Serve = Callable[..., Any]


@pytest.fixture
async def listeners() -> AsyncIterator[Listeners]:
    made = Listeners()
    yield made
    await made.aclose()


@pytest.fixture
def serve(ca: trustme.CA, listeners: Listeners) -> Serve:
    """Starts a TLS server with a certificate for the names given."""

    async def start(*names: str, not_after: datetime | None = None) -> str:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        ca.issue_cert(*names, not_after=not_after).configure_cert(context)
        return f"https://localhost:{await listeners.open(serve_answers, context)}"

    return start


@pytest.fixture
async def proxy(listeners: Listeners) -> Proxy:
    made = Proxy()
    made.url = f"http://127.0.0.1:{await listeners.open(made.serve)}"
    return made


@pytest.fixture
async def open_transport(listeners: Listeners) -> AsyncIterator[Callable[..., Any]]:
    opened: list[HttpTransport] = []

    async def make(**http: Any) -> HttpTransport:
        # in a thread, because it reads the certificates
        opened.append(await asyncio.to_thread(HttpTransport, HttpSettings(**http), 2))
        return opened[-1]

    yield make
    for transport in opened:
        await transport.aclose()


async def post(transport: HttpTransport, url: str) -> bytes:
    return (await transport.post(url, {"content-type": "application/json"}, b"{}", 5.0)).body


async def test_a_certificate_of_an_unknown_authority_fails_closed(
    serve: Serve, open_transport: Any
) -> None:
    transport = await open_transport()
    with pytest.raises(Unavailable, match=r"certificate is refused.*http\.ca_file") as caught:
        await post(transport, await serve("localhost"))
    assert (caught.value.charged, caught.value.max_retries) == (False, 1)


async def test_an_authority_of_ones_own_is_trusted(
    serve: Serve, open_transport: Any, ca_file: str
) -> None:
    assert await post(await open_transport(ca_file=ca_file), await serve("localhost")) == ANSWER


async def test_the_file_of_SSL_CERT_FILE_is_trusted(  # noqa: N802 - the variable's name
    serve: Serve, open_transport: Any, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", ca_file)
    assert await post(await open_transport(), await serve("localhost")) == ANSWER


async def test_an_expired_certificate_fails_closed(
    serve: Serve, open_transport: Any, ca_file: str
) -> None:
    url = await serve("localhost", not_after=datetime.now(UTC) - timedelta(days=1))
    with pytest.raises(Unavailable, match="certificate has expired"):
        await post(await open_transport(ca_file=ca_file), url)


async def test_a_certificate_for_another_host_fails_closed(
    serve: Serve, open_transport: Any, ca_file: str
) -> None:
    with pytest.raises(Unavailable, match="certificate is not valid for 'localhost'"):
        await post(await open_transport(ca_file=ca_file), await serve("other.example"))


async def test_a_handshake_that_stalls_ends_with_the_connect_timeout(
    listeners: Listeners, open_transport: Any
) -> None:
    transport = await open_transport(connect_timeout_s=0.2)
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await post(transport, f"https://127.0.0.1:{await listeners.open(say_nothing)}")
    assert not caught.value.charged


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "cannot be read"),
        (b"", "holds no certificate"),
        (b"\x30\x82 der", "holds no certificate"),
        (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "http.ca_file"),
    ],
    ids=["missing", "empty", "not-pem", "broken"],
)
def test_a_ca_file_that_is_none_is_refused_at_the_start(
    tmp_path: Path, content: bytes | None, sentence: str
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SettingsError, match=sentence):
        HttpTransport(HttpSettings(ca_file=str(path)), 1)


@pytest.mark.parametrize(
    "url", ["nonsense", "ftp://proxy:1", "http://", "http://[", "socks5://p:1"]
)
def test_a_proxy_that_is_none_is_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match=r"http\.proxy_url"):
        HttpTransport(HttpSettings(proxy_url=url), 1)


async def test_https_is_tunnelled_through_the_proxy(
    serve: Serve, open_transport: Any, ca_file: str, proxy: Proxy
) -> None:
    url = await serve("localhost")
    named = proxy.url.replace("//", "//somebody:secret@")
    transport = await open_transport(ca_file=ca_file, proxy_url=named)
    assert await post(transport, url) == ANSWER
    assert [head.split()[:2] for head in proxy.heads] == [["CONNECT", url.removeprefix("https://")]]
    assert "proxy-authorization: basic" in proxy.heads[0].lower()
    assert repr(transport) == f"HttpTransport(2 connections, 1 sent, through {proxy.url})"


async def test_http_is_given_to_the_proxy(open_transport: Any, proxy: Proxy) -> None:
    transport = await open_transport(proxy_url=proxy.url)
    assert await post(transport, "http://localhost:1/converse") == ANSWER
    assert proxy.heads[0].startswith("POST http://localhost:1/converse ")


async def test_a_proxy_that_refuses_costs_nothing(open_transport: Any, proxy: Proxy) -> None:
    proxy.refusal = b"HTTP/1.1 407 Proxy Authentication Required\r\ncontent-length: 0\r\n\r\n"
    transport = await open_transport(proxy_url=proxy.url)
    with pytest.raises(Unavailable, match="proxy authorization required") as caught:
        await post(transport, "https://localhost:1")
    assert not caught.value.charged


async def test_a_proxy_that_is_down_is_not_gone_round(serve: Serve, open_transport: Any) -> None:
    transport = await open_transport(proxy_url="http://somebody:secret@127.0.0.1:1")
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await post(transport, await serve("localhost"))
    assert "secret" not in str(caught.value)
    assert not caught.value.charged


async def test_the_reference_path_goes_the_same_way(
    serve: Serve, ca_file: str, proxy: Proxy
) -> None:
    bedrock = BedrockSettings(endpoint_url=await serve("localhost"))
    judge = BedrockSdk(
        "m",
        bedrock=bedrock,
        http=HttpSettings(ca_file=ca_file, proxy_url=proxy.url),
        environ=KEYS,
        max_connections=2,
    )
    assert (await judge(Request(body=PROMPT))).text == "1"
    await judge.aclose()
    assert proxy.heads[0].startswith("CONNECT localhost:")


@pytest.mark.parametrize("proxied", [False, True])
@pytest.mark.parametrize("name", ["localhost", "other.example"])
async def test_the_reference_path_verifies_authority_and_name(
    serve: Serve, ca_file: str, proxy: Proxy, name: str, proxied: bool
) -> None:
    trusted = ca_file if name == "other.example" else None  # so that one of the two is wrong
    bedrock = BedrockSettings(endpoint_url=await serve(name))
    http = HttpSettings(ca_file=trusted, proxy_url=proxy.url if proxied else None)
    judge = BedrockSdk("m", bedrock=bedrock, http=http, environ=KEYS, max_connections=2)
    with pytest.raises(Unavailable, match="certificate") as caught:
        await judge(Request(body=PROMPT))
    await judge.aclose()
    assert not caught.value.charged
    assert len(proxy.heads) == proxied


async def test_the_reference_path_follows_no_proxy_of_the_environment(
    serve: Serve, ca_file: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    bedrock = BedrockSettings(endpoint_url=await serve("localhost"))
    http = HttpSettings(ca_file=ca_file)
    judge = BedrockSdk("m", bedrock=bedrock, http=http, environ=KEYS, max_connections=2)
    assert (await judge(Request(body=PROMPT))).text == "1"
    await judge.aclose()
