"""`/v1/jobs`: large batches that are stored on disk and judged in the lane `bulk`."""

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.responses import Response

from judge_service.api.bodies import read_body, read_pieces
from judge_service.api.errors import HttpError, documented
from judge_service.api.jobs.job_file import Facts
from judge_service.api.jobs.progress import ProgressResponse
from judge_service.api.jobs.service import JobService
from judge_service.api.jobs.status import JobStatus, status_of
from judge_service.api.json_response import encode, json_response
from judge_service.api.ndjson import NdjsonResponse
from judge_service.api.openapi import examples_jobs
from judge_service.api.openapi.document import json_reply
from judge_service.api.request_context import context_of
from judge_service.api.routes.plain import plain_router

ROUTER = plain_router("jobs")
LINES = ("application/x-ndjson", "application/jsonl")
LARGEST = 2**53


@ROUTER.post(
    "/v1/jobs",
    status_code=202,
    responses=documented(400, 404, 408, 413, 415, 429)
    | json_reply("The job is on disk.", JobStatus, examples_jobs.JOB, status=202),
    openapi_extra=examples_jobs.BODY,
)
async def submit(request: Request) -> Response:
    """Accepts a job. After the reply, the job survives a crash.

    The body is that of `/v1/rewards`, or with `Content-Type: application/x-ndjson` a row a line.
    """
    jobs = _jobs(request)
    if jobs.is_stopping:
        raise request.app.state.capacity.draining()
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    is_lines = kind in LINES
    async with aclosing(_pieces(request, is_lines=is_lines)) as pieces:
        facts = await jobs.take(
            context_of(request).caller, pieces, is_lines=is_lines, reasons=_flag(request, "reasons")
        )
    headers = {"location": f"/v1/jobs/{facts.id}"}
    return Response(_status(facts), 202, headers, media_type="application/json")


@ROUTER.get(
    "/v1/jobs/{job_id}",
    responses=documented(404)
    | json_reply("The status of the job.", JobStatus, examples_jobs.WAITING),
    openapi_extra={"parameters": [examples_jobs.JOB_ID]},
)
async def look_up(request: Request) -> Response:
    """The status of a job: progress, rate and expected end."""
    return _answer(await _facts(request))


@ROUTER.get(
    "/v1/jobs/{job_id}/results",
    responses=documented(400, 404) | examples_jobs.RESULTS,
    openapi_extra={"parameters": [examples_jobs.JOB_ID, *examples_jobs.PAGE]},
)
async def results(request: Request) -> Response:
    """The results so far, a line each, in the order of `index`; the last line is `{"job": ...}`.

    While the job runs there are gaps, which are filled later.
    """
    after = _number(request, "after", default=-1, least=-1)
    limit = _number(request, "limit", default=LARGEST, least=1)
    await _facts(request)
    return NdjsonResponse(_lines(request, after, limit))


@ROUTER.get(
    "/v1/jobs/{job_id}/events",
    responses=documented(404) | examples_jobs.EVENTS,
    openapi_extra={"parameters": [examples_jobs.JOB_ID]},
)
async def events(request: Request) -> Response:
    """The progress as server-sent events: `progress` at each change, `end` when the job has ended."""
    jobs = _jobs(request)
    return ProgressResponse(
        await _facts(request), lambda: _facts(request), jobs.watching(), lambda: jobs.is_stopping
    )


@ROUTER.post(
    "/v1/jobs/{job_id}/retry",
    status_code=202,
    responses=documented(404, 409, 429)
    | json_reply("The rows will be judged again.", JobStatus, examples_jobs.PUT_BACK, status=202),
    openapi_extra={"parameters": [examples_jobs.JOB_ID]},
)
async def retry(request: Request) -> Response:
    """Judges the rows of an ended job again that have no score or no result.

    The job is `queued` again. Results with a score are kept; a job with only such results is unchanged.
    """
    jobs = _jobs(request)
    if jobs.is_stopping:
        raise request.app.state.capacity.draining()
    facts = await jobs.retry(_id(request), context_of(request).caller)
    return Response(_status(facts), 202, media_type="application/json")


@ROUTER.delete(
    "/v1/jobs/{job_id}",
    responses=documented(404)
    | json_reply("The last status of the job.", JobStatus, examples_jobs.JOB),
    openapi_extra={"parameters": [examples_jobs.JOB_ID]},
)
async def end(request: Request) -> Response:
    """Cancels a job, whose results so far are kept, or deletes an ended job with its results."""
    return _answer(await _jobs(request).end(_id(request), context_of(request).caller.tenant))


async def _pieces(request: Request, *, is_lines: bool) -> AsyncGenerator[bytes]:
    if not is_lines:
        yield await read_body(request)
        return
    limit = request.app.state.judge.settings.service.max_job_bytes
    async with aclosing(read_pieces(request, max_bytes=limit)) as pieces:
        async for piece in pieces:
            yield piece


async def _lines(request: Request, after: int, limit: int) -> AsyncGenerator[bytes]:
    yield b""  # the job exists: from here on errors are lines
    found = _jobs(request).results(_id(request), after, limit)
    async with aclosing(found) as several:
        async for lines in several:
            yield lines
    yield encode({"job": status_of(await _facts(request), time.time())})


async def _facts(request: Request) -> Facts:
    return await _jobs(request).facts(_id(request), context_of(request).caller.tenant)


def _jobs(request: Request) -> JobService:
    jobs: JobService | None = request.app.state.jobs
    if jobs is None:
        raise HttpError(404, "not_found", "jobs are turned off; the operator sets service.jobs_dir")
    return jobs


def _id(request: Request) -> str:
    found: str = request.path_params["job_id"]
    return found


def _answer(facts: Facts) -> Response:
    return json_response(status_of(facts, time.time()))


def _status(facts: Facts) -> bytes:
    return encode(status_of(facts, time.time()))


def _flag(request: Request, name: str) -> bool:
    text = request.query_params.get(name, "false")
    if text not in ("true", "false"):
        raise HttpError(400, "bad_request", f"{name} must be true or false", field=name)
    return text == "true"


def _number(request: Request, name: str, *, default: int, least: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdecimal() and len(digits) < 16) or int(text) < least:
        raise HttpError(
            400, "bad_request", f"{name} must be a whole number, at least {least}", field=name
        )
    return int(text)
