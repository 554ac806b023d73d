"""Reads a request's body: bounded in size and in time, never decompressed, never logged."""

import asyncio
from typing import Any

from fastapi import Request

from judge_service.api.errors import HttpError
from judge_service.wire import read_json

CHUNK_FIELDS = ("identity", "")


async def read_json_body(request: Request) -> Any:
    """The body as parsed JSON.

    Raises HttpError 408, 413 or 415 by `service.max_body_bytes` and `service.body_timeout_s`, WireError
    for what is no JSON.
    """
    body = await read_body(request)
    return read_json(body, max_bytes=len(body))


async def read_body(request: Request) -> bytes:
    """The body as bytes. Raises HttpError 408, 413 or 415; ClientGone when the caller has left."""
    limits = request.app.state.judge.settings.service
    encoding = request.headers.get("content-encoding", "")
    if encoding.lower() not in CHUNK_FIELDS:
        raise HttpError(415, "unsupported_encoding", "the body is compressed; send it plain")
    declared = request.headers.get("content-length", "0")
    if declared.isdigit() and int(declared) > limits.max_body_bytes:
        raise _too_large(limits.max_body_bytes)
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            return await _collect(request, limits.max_body_bytes)
    except TimeoutError:
        raise HttpError(
            408, "body_too_slow", f"the body took longer than {limits.body_timeout_s:g} s"
        ) from None


async def _collect(request: Request, max_bytes: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> HttpError:
    return HttpError(
        413, "body_too_large", f"the body is longer than {max_bytes:,} bytes; send smaller batches"
    )
