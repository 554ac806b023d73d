"""`POST /v1/rewards`: the native route; a sample that was not judged has no score."""

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission import admit
from judge_service.api.bodies import read_json_body
from judge_service.api.errors import documented
from judge_service.api.plain_route import plain_router
from judge_service.wire import decode_row, dump_json

ROUTER = plain_router("judging")


@ROUTER.post("/v1/rewards", responses=documented(400, 408, 413, 415, 429))
async def rewards(request: Request) -> Response:
    """Samples in, rewards out, in order."""
    body = await read_json_body(request)
    samples = [decode_row(row, f"$.samples[{i}]") for i, row in enumerate(body["samples"])]
    async with admit(request, samples=len(samples)) as ticket:
        found = await request.app.state.judge.score(samples, deadline_s=ticket.deadline_s)
    reply = {
        "rewards": [
            {"id": sample.id, "score": reward.score, "reason": reward.reason}
            for sample, reward in zip(samples, found, strict=True)
        ]
    }
    return Response(dump_json(reply), media_type="application/json")
