"""Streamed responses: one JSON value a line, sent when it is ready."""

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from judge_service.api.admission.admitted_request import ClientGone
from judge_service.api.errors import error_line

LOG = logging.getLogger("judge_service.api")

WRITE_TIMEOUT_S = 30.0
"""A caller that reads nothing for this time counts as gone, seconds, even if its socket is open."""


class NdjsonResponse(Response):
    """A response whose length is not known at its start.

    lines: yields one empty value when the work is admitted, then the lines. An error before that is an
        ordinary error response; after it, the last line is `{"error": ...}`, because the status is sent.
    """

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncGenerator[bytes]) -> None:
        self._lines = lines
        self.status_code = 200
        self.background = None
        self.init_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - the signature of Response
        async with aclosing(self._lines) as lines:
            await anext(lines)
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            try:
                async for line in lines:
                    await write_line(send, line)
            except ClientGone:
                raise
            except Exception as error:  # noqa: BLE001 - the status is sent; the stream reports the error
                LOG.warning("%s broke off: %s", scope["path"], type(error).__name__)
                await write_line(send, error_line(error))
            await send({"type": "http.response.body", "body": b""})


async def write_line(send: Send, line: bytes) -> None:
    """Sends a line of an unfinished body. Raises ClientGone if the caller no longer reads."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
    except TimeoutError:
        raise ClientGone from None
