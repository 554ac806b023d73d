"""`POST /invocations`: SageMaker's route, which accepts every dialect of the wire package."""

import re

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission.admitted_request import admit
from judge_service.api.bodies import read_json_body
from judge_service.api.errors import documented
from judge_service.api.json_response import json_response
from judge_service.api.openapi import examples
from judge_service.api.openapi.document import json_body, json_reply
from judge_service.api.routes.plain import plain_router
from judge_service.service import JudgeService
from judge_service.wire import decode_event

ROUTER = plain_router("judging")

CUSTOM_ATTRIBUTES = "x-amzn-sagemaker-custom-attributes"
VISIBLE = re.compile(r"[\x20-\x7e]{1,1024}")
"""Header values that SageMaker allows; others do not come from SageMaker and are not sent back."""


@ROUTER.post(
    "/invocations",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply(
        "Rewards in the caller's form, in order.", {"type": "array"}, examples.INVOCATION_REPLY
    ),
    openapi_extra=json_body(examples.INVOCATION_SCHEMA, examples.INVOCATION),
)
async def invocations(request: Request) -> Response:
    """Grades a batch in any dialect of docs/contracts.md, and replies in the trainer's format.

    A sample that was not judged gets a substitute by `unscored.policy`. `X-Amzn-SageMaker-Custom-Attributes`
    is returned as sent.
    """
    event = await read_json_body(request)
    judge: JudgeService = request.app.state.judge
    batch = decode_event(event)
    async with admit(request, samples=len(batch.samples)) as admitted:
        reply = await judge.answer_batch(
            batch, deadline_s=admitted.deadline_s, lane=admitted.lane, job=admitted.tenant
        )
    response = json_response(reply)
    attributes = request.headers.get(CUSTOM_ATTRIBUTES)
    if attributes is not None and VISIBLE.fullmatch(attributes):
        response.headers[CUSTOM_ATTRIBUTES] = attributes
    return response
