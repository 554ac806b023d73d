"""A streamed answer: one JSON value a line, sent when it is ready."""

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
"""A caller that takes nothing for so long has gone, whatever its socket says."""


class NdjsonResponse(Response):
    """An answer whose length and end are not known yet.

    lines: yields one empty value when the work is admitted, then the lines. What it raises before that
        is an ordinary error; after it, the last line is `{"error": ...}`, because the status has left.
    """

    media_type = "application/x-ndjson"

    def __init__(self, lines: AsyncGenerator[bytes]) -> None:
        self._lines = lines
        self.status_code = 200
        self.background = None
        self.init_headers()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG002 - Response's own signature
        async with aclosing(self._lines) as lines:
            await anext(lines)
            start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
            await send(start)
            try:
                async for line in lines:
                    await write_line(send, line)
            except ClientGone:
                raise
            except Exception as error:  # noqa: BLE001 - the status has left; the stream says it
                LOG.warning("%s broke off: %s", scope["path"], type(error).__name__)
                await write_line(send, error_line(error))
            await send({"type": "http.response.body", "body": b""})


async def write_line(send: Send, line: bytes) -> None:
    """A line of a body that goes on. Raises ClientGone when the caller takes nothing any more."""
    try:
        async with asyncio.timeout(WRITE_TIMEOUT_S):
            await send({"type": "http.response.body", "body": line + b"\n", "more_body": True})
    except TimeoutError:
        raise ClientGone from None
