"""The request context: arrival time, caller and headers of a request."""

import asyncio
from collections.abc import Iterable

from fastapi import Request

from judge_service.api.access import ANYBODY, Caller
from judge_service.api.errors import HttpError

REQUEST_ID = b"x-request-id"
TRACE_IDS = (b"x-amzn-trace-id", b"traceparent")
"""Headers with trace ids for the log lines of a request's samples; X-Ray's has precedence over the W3C's."""

TIMEOUT = b"x-judge-timeout-s"
SHORTEST_TIMEOUT_S = 0.01
"""Shortest timeout of a caller, seconds; a shorter one is a mistake, because no judge is that fast."""

ACCEPT = b"accept"
CONTENT_ENCODING = b"content-encoding"
CONTENT_LENGTH = b"content-length"

WANTED = frozenset({REQUEST_ID, *TRACE_IDS, TIMEOUT, ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH})


class RequestContext:
    """The context of one request. It reads the headers once.

    headers: ASGI's, names in lower case. now: its arrival, loop seconds.

    caller: set when the application has admitted the request.
    held_bytes: bytes of its body in memory, counted by `Capacity`.
    """

    __slots__ = ("_deadline", "_headers", "arrived", "caller", "held_bytes")

    def __init__(self, headers: Iterable[tuple[bytes, bytes]], now: float) -> None:
        self._headers = {name: value for name, value in headers if name in WANTED}
        self._deadline: float | None = None
        self.arrived = now
        self.caller: Caller = ANYBODY
        self.held_bytes = 0

    def __repr__(self) -> str:
        return (
            f"<RequestContext of {self.caller.tenant or 'anybody'}, holds {self.held_bytes} bytes>"
        )

    def header(self, name: bytes) -> str:
        """The value of a header of `WANTED`; empty if it is missing."""
        found = self._headers.get(name)
        return "" if found is None else found.decode("latin-1")

    def ids(self) -> dict[str, str]:
        """The trace ids for `telemetry.trace.carry`; empty if the caller sent none."""
        request_id = self.header(REQUEST_ID)
        trace_id = next((found for name in TRACE_IDS if (found := self.header(name))), "")
        return {"request_id": request_id, "trace_id": trace_id} if request_id or trace_id else {}

    def left_s(self, deadline_s: float) -> float:
        """Seconds left of `deadline_s`, or of the caller's timeout if it is shorter, since the arrival.

        Raises HttpError 400 if the caller's timeout is not a valid number.
        """
        if self._deadline is None:
            text = self.header(TIMEOUT)
            self._deadline = self.arrived + (
                min(deadline_s, _timeout_s(text)) if text else deadline_s
            )
        return max(0.0, self._deadline - asyncio.get_running_loop().time())


def context_of(request: Request) -> RequestContext:
    """The context of a request."""
    context: RequestContext = request.scope["state"]["context"]
    return context


def _timeout_s(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not seconds >= SHORTEST_TIMEOUT_S:
        raise HttpError(
            400,
            "bad_request",
            f"{TIMEOUT.decode()} must be a number of seconds, at least {SHORTEST_TIMEOUT_S}",
        )
    return seconds
