"""The ids of the request in progress: set once at the entry point, read by events and log lines.

They are a context variable, so that no function in between has to pass them on. Tasks inherit it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from msgspec import Struct

from judge_service.telemetry.text import MAX_LABEL_CHARS, plain


class Trace(Struct, frozen=True, kw_only=True):
    """request_id: of the invocation or the HTTP request. trace_id: X-Ray's, or a `traceparent`."""

    request_id: str = ""
    trace_id: str = ""


NO_TRACE = Trace()

_CURRENT: ContextVar[Trace] = ContextVar("judge_service_trace", default=NO_TRACE)


@contextmanager
def carry(*, request_id: str = "", trace_id: str = "") -> Iterator[Trace]:
    """Context manager: events and log lines inside it, also those of tasks started inside, have these ids.

    Ids may come from a caller's headers, so they are made safe and cut like a sample's id.
    """
    trace = Trace(
        request_id=plain(request_id, MAX_LABEL_CHARS), trace_id=plain(trace_id, MAX_LABEL_CHARS)
    )
    token = _CURRENT.set(trace)
    try:
        yield trace
    finally:
        _CURRENT.reset(token)


def current() -> Trace:
    """The ids of the request in progress, empty outside a request."""
    return _CURRENT.get()
