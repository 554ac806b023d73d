"""Routes that trainers call without changes: OpenRLHF, slime and NeMo-Gym (docs/trainers.md).

The reply to a row that could not be judged is neutral in the trainer's format, never an error: trainers
retry an error up to five times and then crash.
"""

import asyncio

from fastapi import Request
from starlette.responses import Response

from judge_service.api.admission.admitted_request import admit
from judge_service.api.bodies import read_body, read_json_body
from judge_service.api.errors import documented
from judge_service.api.json_response import json_response
from judge_service.api.openapi import examples_trainers as examples
from judge_service.api.openapi.document import json_body, json_reply
from judge_service.api.routes.plain import plain_router
from judge_service.service import JudgeService
from judge_service.wire import read_json
from judge_service.wire.trainers.nemo_gym import STATELESS, decode_verify, encode_verify
from judge_service.wire.trainers.nemo_gym_metrics import AggregateMetrics, aggregate_metrics
from judge_service.wire.trainers.openrlhf import decode_openrlhf, encode_openrlhf
from judge_service.wire.trainers.slime import decode_slime, encode_slime

ROUTER = plain_router("trainers")


@ROUTER.post(
    "/get_reward",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply(
        "Columns, one item per query.",
        examples.GET_REWARD_REPLY_SCHEMA,
        examples.GET_REWARD_REPLY,
    ),
    openapi_extra=json_body(examples.GET_REWARD_SCHEMA, examples.GET_REWARD),
)
async def get_reward(request: Request) -> Response:
    """The route for OpenRLHF's `--reward.remote_url`.

    A sample that was not judged gets a substitute by `unscored.policy` and `judge_failed` 1;
    `unscored.max_fraction` has no effect.
    """
    samples = decode_openrlhf(await read_json_body(request))
    judge: JudgeService = request.app.state.judge
    async with admit(request, samples=len(samples)) as admitted:
        answers = await judge.answers(
            samples,
            deadline_s=admitted.deadline_s,
            lane=admitted.lane,
            job=admitted.tenant,
            refuse=False,
        )
    low = -1.0 if judge.settings.wire.score_range == "-1..1" else 0.0
    return json_response(encode_openrlhf(answers, low=low))


@ROUTER.post(
    "/reward",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply("The score.", examples.SLIME_REPLY_SCHEMA, examples.SLIME_REPLY),
    openapi_extra=json_body(examples.SLIME_SCHEMA, examples.SLIME),
)
async def reward(request: Request) -> Response:
    """The route for slime's `--rm-url`, with `--reward-key score`.

    A sample that was not judged gets a substitute by `unscored.policy` and `judge_failed` 1;
    `unscored.max_fraction` has no effect.
    """
    sample = decode_slime(await read_json_body(request))
    judge: JudgeService = request.app.state.judge
    async with admit(request, samples=1) as admitted:
        (answer,) = await judge.answers(
            [sample],
            deadline_s=admitted.deadline_s,
            lane=admitted.lane,
            job=admitted.tenant,
            refuse=False,
        )
    return json_response(encode_slime(answer))


@ROUTER.post(
    "/verify",
    responses=documented(400, 408, 413, 415, 429)
    | json_reply(
        "The body, with its reward.",
        examples.VERIFY_REPLY_SCHEMA,
        examples.VERIFY_REPLY,
    ),
    openapi_extra=json_body(examples.VERIFY_SCHEMA, examples.VERIFY),
)
async def verify(request: Request) -> Response:
    """The route of a NeMo-Gym resources server: the reward of one rollout; masked if it was not judged."""
    body = await read_json_body(request)
    sample = decode_verify(body)
    judge: JudgeService = request.app.state.judge
    async with admit(request, samples=1) as admitted:
        (found,) = await judge.score(
            [sample], deadline_s=admitted.deadline_s, lane=admitted.lane, job=admitted.tenant
        )
    return json_response(encode_verify(body, sample, found, judge.settings.wire.score_range))


@ROUTER.post(
    "/seed_session",
    responses=documented(400, 408, 413, 415) | json_reply("Nothing.", {"type": "object"}, {}),
    openapi_extra=json_body({"type": "object"}, examples.VERIFY),
)
async def seed_session(request: Request) -> Response:
    """Does nothing: NeMo-Gym calls it before each rollout, and judging has no session."""
    await read_body(request)
    return json_response({})


@ROUTER.post(
    "/aggregate_metrics",
    responses=documented(400, 408, 413, 415)
    | json_reply("Measures by name.", AggregateMetrics, examples.AGGREGATE_REPLY),
    openapi_extra=json_body(examples.AGGREGATE_SCHEMA, examples.AGGREGATE),
)
async def aggregate(request: Request) -> Response:
    """Aggregates many replies of `/verify` for NeMo-Gym; masked ones do not count."""
    data = await read_body(request)
    found = await asyncio.to_thread(lambda: aggregate_metrics(read_json(data, max_bytes=len(data))))
    return json_response(found)


@ROUTER.get(
    "/reverify_mode",
    responses=documented() | json_reply("The mode.", {"const": STATELESS}, STATELESS),
)
async def reverify_mode(_request: Request) -> Response:
    """Tells NeMo-Gym whether a rollout may be judged again later."""
    return json_response(STATELESS)
