"""The guards of conftest.py work: tests cannot use the network or block the loop."""

import socket

import pytest

from judge_service.http.transport import HttpTransport
from judge_service.settings import HttpSettings

ELSEWHERE = "192.0.2.1"  # TEST-NET-1, RFC 5737


def test_a_socket_cannot_leave_this_machine() -> None:
    with (
        socket.socket() as connection,
        pytest.raises(Exception, match=f"connect to {ELSEWHERE}"),
    ):
        connection.connect((ELSEWHERE, 443))


def test_a_name_cannot_be_looked_up() -> None:
    with pytest.raises(Exception, match="look up bedrock-runtime"):
        socket.getaddrinfo("bedrock-runtime.us-east-1.amazonaws.com", 443)


async def test_the_hot_path_cannot_leave_this_machine() -> None:
    transport = HttpTransport(HttpSettings(), max_connections=1)
    try:
        with pytest.raises(Exception, match=f"post to {ELSEWHERE}"):
            await transport.post(f"https://{ELSEWHERE}/", {}, b"", timeout_s=1.0)
    finally:
        await transport.aclose()
