"""Fixtures of all tests: no real network, no blocking of the loop, no settings from the environment."""

import ipaddress
import os
import signal
import sys
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import settings

from judge_service.http.transport import HttpTransport

settings.register_profile("house", deadline=None)  # how long one example takes is the machine's
settings.load_profile("house")

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # in the background, and what we start would be too
    signal.signal(signal.SIGINT, signal.default_int_handler)

MAY_BLOCK = {
    "judge_service/service.py": {
        "open_service"
    },  # reads the rubric and loads the embedded model, once
    "judge_service/aws/credentials.py": {"_open"},  # botocore reads its profiles, once
    "judge_service/backends/bedrock/sdk.py": {"_new_client"},  # and its service model
    "judge_service/testing.py": {"submit"},  # in place of a thread
}
"""Where a blocking call is meant. The command line, which has its loop to itself, is not watched."""


class RealNetworkInTests(RuntimeError):
    """A test tried to leave this machine. It is no CallError, so that no policy can swallow it."""


def is_here(host: str) -> bool:
    if host in ("localhost", ""):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_to_leave(event: str, args: tuple[Any, ...]) -> None:
    """An audit hook: sees every connect and look-up that Python code makes, whatever the library."""
    if event == "socket.connect":
        address = args[1]
        if isinstance(address, tuple) and not is_here(str(address[0])):
            raise RealNetworkInTests(f"connect to {address[0]}")
    elif event == "socket.getaddrinfo":
        host = args[0].decode() if isinstance(args[0], bytes) else str(args[0] or "")
        if not is_here(host):
            raise RealNetworkInTests(f"look up {host}")


sys.addaudithook(refuse_to_leave)


@pytest.fixture(autouse=True)
def _no_real_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hot path's one way out, guarded besides: its errors must not become a policy's business."""
    post = HttpTransport.post

    async def guarded(self: HttpTransport, url: str, *args: Any, **kwargs: Any) -> Any:
        host = urlsplit(url).hostname or ""
        if not is_here(host):
            raise RealNetworkInTests(f"post to {host}")
        return await post(self, url, *args, **kwargs)

    monkeypatch.setattr(HttpTransport, "post", guarded)


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("JUDGE_", "AWS_", "OPENAI_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(autouse=True)
def _no_blocking() -> Iterator[BlockBuster]:
    """A blocking call of ours on the event loop fails the test."""
    with blockbuster_ctx("judge_service", excluded_modules=["judge_service.cli"]) as blockbuster:
        for function in blockbuster.functions.values():
            for file, names in MAY_BLOCK.items():
                function.can_block_in(file, names)
        yield blockbuster
