"""`POST /v1/rewards`: the native route, in which a sample that was not judged has no score."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission.admitted_request import admit
from judge_service.api.bodies import read_judged_body
from judge_service.api.errors import documented
from judge_service.api.json_response import encode, json_response
from judge_service.api.ndjson import NdjsonResponse
from judge_service.api.openapi import examples
from judge_service.api.openapi.document import json_body, json_reply
from judge_service.api.request_context import ACCEPT, context_of
from judge_service.api.routes.plain import plain_router
from judge_service.service import JudgeService
from judge_service.values import Reward
from judge_service.wire.native import (
    NativeBatch,
    NativeReply,
    decode_native_json,
    native_reply,
    native_reward,
    native_totals,
)

ROUTER = plain_router("judging")
NDJSON = "application/x-ndjson"


@ROUTER.post(
    "/v1/rewards",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply("One reward per sample, in order.", NativeReply, examples.REWARDS_REPLY),
    openapi_extra=json_body(examples.REWARDS_SCHEMA, examples.REWARDS),
)
async def rewards(request: Request) -> Response:
    """Grades samples.

    With `Accept: application/x-ndjson` each reward is one line, sent when it is ready, with
    its `index`; the last line is `{"totals": ...}`, or `{"error": ...}` if the stream was aborted.
    """
    batch = decode_native_json(await read_judged_body(request))
    if NDJSON in context_of(request).header(ACCEPT):
        return NdjsonResponse(_lines(request, batch))
    judge: JudgeService = request.app.state.judge
    async with admit(request, samples=len(batch.samples)) as admitted:
        found = await judge.score(
            batch.samples, deadline_s=admitted.deadline_s, lane=admitted.lane, job=admitted.tenant
        )
    return json_response(native_reply(batch, found, judge.settings.wire.score_range))


async def _lines(request: Request, batch: NativeBatch) -> AsyncGenerator[bytes]:
    judge: JudgeService = request.app.state.judge
    score_range = judge.settings.wire.score_range
    found: list[Reward] = []
    async with admit(request, samples=len(batch.samples)) as admitted:
        yield b""  # admitted: from here on errors are lines
        stream = judge.stream(
            enumerate(batch.samples),
            deadline=asyncio.get_running_loop().time() + admitted.deadline_s,
            lane=admitted.lane,
            job=admitted.tenant,
        )
        async with aclosing(stream) as ready:
            async for index, reward in ready:
                found.append(reward)
                sample = batch.samples[index]
                yield encode(
                    native_reward(sample, reward, score_range, reasons=batch.reasons, index=index)
                )
    yield encode({"totals": native_totals(found)})
