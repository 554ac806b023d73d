"""Sends a job's progress as server-sent events, until the job has ended or the service stops."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager

import msgspec
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from judge_service.api.errors import error_line
from judge_service.api.jobs.job_file import Facts
from judge_service.api.jobs.status import status_of
from judge_service.api.ndjson import write_line
from judge_service.errors import JudgeServiceError

LOOK_S = 1.0
"""Interval between two reads of the job, seconds; each change is an event."""

ALIVE_S = 15.0
"""After this time without an event a comment is sent, seconds, so that no proxy closes the connection."""


class ProgressResponse(Response):
    """A response with events `progress`, whose data is a `JobStatus`. The last event of a finished job is
    `end`; an event `error` gives the reason why the stream ends early.

    facts: the present facts. look: reads them again. watching: a context manager, entered while it runs.
    is_stopping: whether the service stops; then the stream ends, and a browser's EventSource connects
        again by itself.
    """

    media_type = "text/event-stream"

    def __init__(
        self,
        facts: Facts,
        look: Callable[[], Awaitable[Facts]],
        watching: AbstractContextManager[None],
        is_stopping: Callable[[], bool],
    ) -> None:
        self._facts = facts
        self._look = look
        self._watching = watching
        self._is_stopping = is_stopping
        self.status_code = 200
        self.background = None
        self.init_headers({"cache-control": "no-cache", "x-accel-buffering": "no"})

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        with self._watching:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            await self._follow(receive, send)
            await send({"type": "http.response.body", "body": b""})

    async def _follow(self, receive: Receive, send: Send) -> None:
        facts = self._facts
        await write_line(send, event_of(facts))
        told_at = time.monotonic()
        while not facts.is_finished and not self._is_stopping():
            if await _has_left(receive, LOOK_S):
                return
            before = facts
            try:
                facts = await self._look()
            except JudgeServiceError as problem:  # it was deleted, or the disk fails
                await write_line(send, b"event: error\ndata: %s\n" % error_line(problem))
                return
            if facts != before:
                await write_line(send, event_of(facts))
                told_at = time.monotonic()
            elif time.monotonic() - told_at >= ALIVE_S:
                await write_line(send, b":\n")
                told_at = time.monotonic()


def event_of(facts: Facts) -> bytes:
    """One event, without the final line end."""
    name = b"end" if facts.is_finished else b"progress"
    return b"event: %s\ndata: %s\n" % (name, msgspec.json.encode(status_of(facts, time.time())))


async def _has_left(receive: Receive, within_s: float) -> bool:
    """Whether the caller leaves within this time; waits for all of it if the caller stays."""
    try:
        async with asyncio.timeout(within_s):
            while (await receive())["type"] != "http.disconnect":
                pass
    except TimeoutError:
        return False
    return True
