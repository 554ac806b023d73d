"""Which request the work is for: set once where a request comes in, read where something is told of it.

A context variable, so that no function in between needs to hand it on. Tasks inherit it.
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
    """Everything that is told of inside carries these ids, in tasks that begin inside too.

    They may come from a caller's headers, so they are made plain and cut like a sample's id.
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
    """The ids of the request at work, empty outside of one."""
    return _CURRENT.get()
