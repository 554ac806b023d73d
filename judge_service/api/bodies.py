"""Reads the body of a request with limits of size and time. It is never decompressed and never logged."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

from fastapi import Request

from judge_service.api.admission.admitted_request import ClientGone, refuse_early
from judge_service.api.errors import HttpError
from judge_service.api.request_context import CONTENT_ENCODING, CONTENT_LENGTH, context_of
from judge_service.wire import read_json

PIECE_BYTES = 262_144
"""Size of a piece of a body; large enough that passing pieces on costs little."""

PLAIN = frozenset({"", "identity"})


async def read_json_body(request: Request) -> Any:
    """The body as parsed JSON, for a route that judges at once.

    Raises WireError if it is not JSON, and the errors of `read_judged_body`.
    """
    body = await read_judged_body(request)
    return read_json(body, max_bytes=len(body))


async def read_judged_body(request: Request) -> bytes:
    """The body as bytes, for a route that judges at once.

    Raises HttpError 408, 413 or 415 by `service.max_body_bytes` and `service.body_timeout_s`; 429 or 503,
    before a byte is read, if the queue has no room; ClientGone.
    """
    refuse_early(request)
    return await read_body(request)


async def read_body(request: Request) -> bytes:
    """The body as bytes. Raises HttpError 408, 413, 415 or 503; ClientGone when the caller has left."""
    limits = request.app.state.judge.settings.service
    _refuse_headers(request, limits.max_body_bytes)
    message = await _receive(request)
    first: bytes = message.get("body", b"")
    _hold(request, len(first), len(first), limits.max_body_bytes)
    if not message.get("more_body"):
        return first  # the usual case, without a timer
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _collect(request, first, limits.max_body_bytes)
    except TimeoutError:
        raise _too_slow(limits.body_timeout_s) from None


async def read_pieces(request: Request, *, max_bytes: int) -> AsyncGenerator[bytes]:
    """A body in pieces; only one piece is in memory at a time.

    Raises the errors of `read_body`, with `max_bytes` instead of `service.max_body_bytes`.
    """
    _refuse_headers(request, max_bytes)
    timeout_s = request.app.state.judge.settings.service.body_timeout_s
    until = asyncio.get_running_loop().time() + timeout_s
    size, more = 0, True
    while more:
        piece = bytearray()
        while more and len(piece) < PIECE_BYTES:
            message = await _receive_until(request, until, timeout_s)
            chunk = message.get("body", b"")
            size += len(chunk)
            _hold(request, len(chunk), size, max_bytes)
            piece += chunk
            more = message.get("more_body", False)
        yield bytes(piece)
        _release(request, len(piece))


async def _receive_until(request: Request, until: float, timeout_s: float) -> Any:
    try:
        async with asyncio.timeout_at(until):
            return await _receive(request)
    except TimeoutError:
        raise _too_slow(timeout_s) from None


def _refuse_headers(request: Request, max_bytes: int) -> None:
    context = context_of(request)
    if context.header(CONTENT_ENCODING).lower() not in PLAIN:
        raise HttpError(415, "unsupported_encoding", "the body is compressed; send it plain")
    declared = context.header(CONTENT_LENGTH)
    if declared.isdecimal() and int(declared[:20]) > max_bytes:
        raise _too_large(max_bytes)


async def _collect(request: Request, first: bytes, max_bytes: int) -> bytes:
    chunks, size, more = [first], len(first), True
    while more:
        message = await _receive(request)
        chunk: bytes = message.get("body", b"")
        size += len(chunk)
        _hold(request, len(chunk), size, max_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _receive(request: Request) -> Any:
    message = await request.receive()
    if message["type"] == "http.disconnect":
        raise ClientGone
    return message


def _hold(request: Request, grown: int, size: int, max_bytes: int) -> None:
    """Counts the received bytes; the application subtracts them when the request has ended."""
    if size > max_bytes:
        raise _too_large(max_bytes)
    request.app.state.capacity.hold_bytes(grown)
    context_of(request).held_bytes += grown


def _release(request: Request, amount: int) -> None:
    request.app.state.capacity.release_bytes(amount)
    context_of(request).held_bytes -= amount


def _too_slow(timeout_s: float) -> HttpError:
    return HttpError(408, "body_too_slow", f"the body took longer than {timeout_s:g} s")


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(
        413, "body_too_large", f"the body is longer than {max_bytes:,} bytes; send smaller batches"
    )
