"""A judge that answers every chat completion with the same bytes, for `cpu.py`.

    python loadtest/cpu_judge.py

It prints its URL and serves until it is terminated. It is faster than all measured clients: a client that
waits for its server needs an iteration of its event loop for each reply, which increases the cost of the
cheapest client. The simulator is slower than `raw` and pyreqwest.
"""

import asyncio
import json

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1445412480,
        "model": "us.amazon.nova-lite-v1:0",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "0.75", "refusal": None},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 300, "completion_tokens": 3, "total_tokens": 303},
    }
).encode()
REPLY = (
    b"HTTP/1.1 200 OK\r\ndate: Wed, 21 Oct 2015 07:28:00 GMT\r\nserver: cpu_judge\r\n"
    b"x-request-id: 00000000\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
) % (len(ANSWER), ANSWER)


class Caller(asyncio.Protocol):
    """One connection. Every request must have a Content-Length."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: asyncio.Transport = transport  # type: ignore[assignment]  # TCP's
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, rest = self.received.partition(b"\r\n\r\n")
        if not end:
            return
        _, _, length = head.lower().partition(b"\r\ncontent-length:")
        if len(rest) >= int(length.partition(b"\r\n")[0]):
            self.received = b""
            self.transport.write(REPLY)


async def main() -> None:
    server = await asyncio.get_running_loop().create_server(Caller, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
