"""One client of `cpu.py` in a separate process: makes calls and reports their CPU time.

    python loadtest/cpu_worker.py {judge,aioboto3,litellm,chat,raw,pyreqwest} URL IN_FLIGHT MESSAGES

It reads lines with a number of calls, answers each with the CPU seconds (user and system, all threads), and
ends with its input. litellm and pyreqwest run in another environment, so this module imports nothing of
ours at the top. MESSAGES is JSON with the messages for the judge; `{number}` makes every call different.

`judge`, `aioboto3` and `litellm` use Bedrock's Converse with signatures. `chat`, `raw` and
`pyreqwest` use OpenAI chat completions without any.
"""

import asyncio
import json
import resource
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

MODEL = "us.amazon.nova-lite-v1:0"
REGION = "us-east-1"
KEYS = {"aws_access_key_id": "simulated", "aws_secret_access_key": "simulated"}
MAX_OUTPUT_TOKENS = 10
Call = Callable[[int], Awaitable[str]]
Make = Callable[[range], Awaitable[float]]
"""Makes the calls with these numbers. Returns their CPU seconds."""


async def main() -> None:
    kind, url, in_flight, messages = sys.argv[1:]
    async with CLIENTS[kind](url, int(in_flight), json.loads(messages)) as make:
        done = 0
        while line := await asyncio.to_thread(sys.stdin.readline):
            calls = int(line)
            print(await make(range(done, done + calls)), flush=True)
            done += calls


def many(call: Call, in_flight: int) -> Make:
    """Makes calls, `in_flight` at once, and checks every answer."""

    async def make(numbers: range) -> float:
        left = iter(numbers)

        async def work() -> None:
            for number in left:
                if not 0 <= float(await call(number)) <= 1:
                    raise RuntimeError("an answer is not a score; the figure would be wrong")

        before_s = cpu_s()
        await asyncio.gather(*(work() for _ in range(in_flight)))
        return cpu_s() - before_s

    return make


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


@asynccontextmanager
async def judge_client(url: str, in_flight: int, _messages: Any) -> AsyncIterator[Make]:
    """The whole service with Bedrock."""
    from measuring import ENVIRON, settings_for  # noqa: PLC0415  not in every environment

    settings = settings_for(url, **sections(in_flight))
    async with service(settings, ENVIRON, in_flight) as make:
        yield make


@asynccontextmanager
async def chat_client(url: str, in_flight: int, _messages: Any) -> AsyncIterator[Make]:
    """The whole service with a server of chat completions."""
    import msgspec  # noqa: PLC0415  not in every environment

    from judge_service.settings import Settings  # noqa: PLC0415  as above

    asked = {"backend": "openai", "model": MODEL, "openai": {"base_url": f"{url}/v1"}}
    settings = msgspec.convert({**asked, **sections(in_flight)}, Settings)
    async with service(settings, {}, in_flight) as make:
        yield make


def sections(in_flight: int) -> dict[str, Any]:
    """Settings with limits that are never reached, and without cache."""
    limits = {
        "requests_per_minute": 1e9,
        "tokens_per_minute": 1e12,
        "max_in_flight": in_flight,
    }
    return {"limits": limits, "cache": {"max_entries": 0}}


@asynccontextmanager
async def service(settings: Any, environ: dict[str, str], in_flight: int) -> AsyncIterator[Make]:
    """The service with one reward a call. Without a sink it writes no log lines."""
    from measuring import sample  # noqa: PLC0415  not in every environment

    from judge_service import open_service  # noqa: PLC0415  as above

    async with open_service(settings, environ=environ) as judge:

        async def make(numbers: range) -> float:
            jobs = [(number, sample(number)) for number in numbers]
            before_s = cpu_s()
            async for _, reward in judge.stream(jobs, window=in_flight):
                if reward.score is None:
                    raise RuntimeError(f"not judged: {reward.detail}")
            return cpu_s() - before_s

        yield make


@asynccontextmanager
async def aioboto3_client(url: str, in_flight: int, messages: Any) -> AsyncIterator[Make]:
    """A plain `converse` call: the client is made once, one attempt, the answer's text is read."""
    import aioboto3  # noqa: PLC0415  not in every environment
    from botocore.config import Config  # noqa: PLC0415  as above

    config = Config(max_pool_connections=in_flight, retries={"total_max_attempts": 1})
    session = aioboto3.Session(**KEYS, region_name=REGION)
    async with session.client("bedrock-runtime", endpoint_url=url, config=config) as client:

        async def call(number: int) -> str:
            reply = await client.converse(
                modelId=MODEL,
                system=[{"text": one["content"]} for one in messages if one["role"] == "system"],
                messages=[
                    {"role": "user", "content": [{"text": text_of(one, number)}]}
                    for one in messages
                    if one["role"] == "user"
                ],
                inferenceConfig={"maxTokens": MAX_OUTPUT_TOKENS, "temperature": 0.0},
            )
            text: str = reply["output"]["message"]["content"][0]["text"]
            return text

        yield many(call, in_flight)


@asynccontextmanager
async def litellm_client(url: str, in_flight: int, messages: Any) -> AsyncIterator[Make]:
    """`litellm.acompletion` on its Converse route, no retries, no telemetry, silent."""
    import litellm  # noqa: PLC0415  not in every environment

    litellm.suppress_debug_info = True
    litellm.telemetry = False

    async def call(number: int) -> str:
        reply = await litellm.acompletion(
            model=f"bedrock/converse/{MODEL}",
            messages=[{"role": one["role"], "content": text_of(one, number)} for one in messages],
            max_tokens=MAX_OUTPUT_TOKENS,
            temperature=0.0,
            num_retries=0,
            aws_bedrock_runtime_endpoint=url,
            aws_region_name=REGION,
            **KEYS,
        )
        text: str = reply.choices[0].message.content
        return text

    yield many(call, in_flight)


class RawConnection(asyncio.Protocol):
    """The smallest possible keep-alive client: no timeout, no limit, and every error is a hang."""

    def connection_made(self, transport: Any) -> None:
        import httptools  # noqa: PLC0415  not in every environment

        self.transport = transport
        self.parser = httptools.HttpResponseParser(self)
        self.body = b""

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        body, self.body = self.body, b""
        self.answer.set_result(body)

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self.answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self.answer


@asynccontextmanager
async def raw_client(url: str, in_flight: int, messages: Any) -> AsyncIterator[Make]:
    """An asyncio protocol with `httptools`, and nothing else."""
    loop, netloc = asyncio.get_running_loop(), url.removeprefix("http://")
    host, _, port = netloc.partition(":")
    idle = [
        (await loop.create_connection(RawConnection, host, int(port)))[1] for _ in range(in_flight)
    ]
    template = chat_body(messages)

    async def call(number: int) -> str:
        body = template.replace(b"{number}", b"%d" % number)
        head = (
            f"POST /v1/chat/completions HTTP/1.1\r\nhost: {netloc}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        )
        connection = idle.pop()
        reply = await connection.ask(head.encode() + body)
        idle.append(connection)
        return answer_in(reply)

    yield many(call, in_flight)
    for connection in idle:
        connection.transport.close()


@asynccontextmanager
async def pyreqwest_client(url: str, in_flight: int, messages: Any) -> AsyncIterator[Make]:
    """A plain POST with the Rust client, with as many connections as concurrent calls."""
    from pyreqwest.client import ClientBuilder  # noqa: PLC0415  not in every environment

    template, target = chat_body(messages), f"{url}/v1/chat/completions"
    builder = ClientBuilder().max_connections(in_flight).http1_only()
    async with builder.build() as client:

        async def call(number: int) -> str:
            body = template.replace(b"{number}", b"%d" % number)
            post = client.post(target).header("content-type", "application/json")
            reply = await post.body_bytes(body).build().send()
            return answer_in(bytes(await reply.bytes()))

        yield many(call, in_flight)


def chat_body(messages: Any) -> bytes:
    """A chat completion's body, in which `{number}` is still to be replaced."""
    asked = {"model": MODEL, "messages": messages, "max_tokens": MAX_OUTPUT_TOKENS}
    return json.dumps({**asked, "temperature": 0.0}, separators=(",", ":")).encode()


def answer_in(reply: bytes) -> str:
    text: str = json.loads(reply)["choices"][0]["message"]["content"]
    return text


def text_of(message: dict[str, str], number: int) -> str:
    return message["content"].replace("{number}", str(number))


CLIENTS = {
    "judge": judge_client,
    "aioboto3": aioboto3_client,
    "litellm": litellm_client,
    "chat": chat_client,
    "raw": raw_client,
    "pyreqwest": pyreqwest_client,
}

if __name__ == "__main__":
    asyncio.run(main())
