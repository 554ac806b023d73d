"""`POST /v1/rank`: ranks several responses to one prompt by comparison."""

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission.admitted_request import admit
from judge_service.api.bodies import read_judged_body
from judge_service.api.errors import documented
from judge_service.api.json_response import json_response
from judge_service.api.openapi import examples
from judge_service.api.openapi.document import json_body, json_reply
from judge_service.api.routes.plain import plain_router
from judge_service.service import JudgeService
from judge_service.wire.native import decode_native_json
from judge_service.wire.ranking import RankReply, rank_reply

ROUTER = plain_router("judging")


@ROUTER.post(
    "/v1/rank",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply("One reward and one rank per sample, in order.", RankReply, examples.RANK_REPLY),
    openapi_extra=json_body(examples.RANK_SCHEMA, examples.RANK),
)
async def rank(request: Request) -> Response:
    """Ranks two to sixteen responses to one prompt.

    A text judge sees them together, in two orders. With a judge that cannot compare, such as the
    embedded one, each is scored alone and `compared` is false.
    """
    batch = decode_native_json(await read_judged_body(request))
    judge: JudgeService = request.app.state.judge
    async with admit(request, samples=len(batch.samples)) as admitted:
        ranking = await judge.rank(
            batch.samples, deadline_s=admitted.deadline_s, lane=admitted.lane, job=admitted.tenant
        )
    return json_response(rank_reply(batch, ranking, judge.settings.wire.score_range))
