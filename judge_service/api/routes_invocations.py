"""`POST /invocations`: SageMaker's route, every dialect of the wire package."""

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission import admit
from judge_service.api.bodies import read_json_body
from judge_service.api.errors import documented
from judge_service.api.plain_route import plain_router
from judge_service.wire import dump_json

ROUTER = plain_router("judging")


@ROUTER.post("/invocations", responses=documented(400, 408, 413, 415, 429))
async def invocations(request: Request) -> Response:
    """A trainer's batch in any known dialect in, rewards in the trainer's form out."""
    event = await read_json_body(request)
    async with admit(request, samples=1) as ticket:
        reply = await request.app.state.judge.answer(event, deadline_s=ticket.deadline_s)
    return Response(dump_json(reply), media_type="application/json")
