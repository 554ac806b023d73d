"""Compares the native route with the same route with pydantic bodies, for batches of 64.

    python loadtest/service_bodies.py [--requests 200] [--rounds 7]

Both are routes of the same application, with the same fields, samples and
replies. They are called like the server calls them, in turns. Judging is replaced by ready
rewards, because it costs the same in both. The figure is the CPU time, the best of each round.
"""

import asyncio
import statistics
from typing import Any

from fastapi import FastAPI, Request
from measuring import InstantJudge, at_least, cpu_s, report, settings_for, sizes, spread
from pydantic import BaseModel, ConfigDict
from rows import BATCH, body

from judge_service import Sample
from judge_service.api.app import create_app
from judge_service.values import Part, Reward, Usage
from judge_service.wire import decode_row

READY = Reward(score=0.75, parts=(Part("similarity", 0.75, 1.0),), usage=Usage(300, 1, calls=1))


class BlockBody(BaseModel):
    type: str | None = None
    text: str | None = None


class MessageBody(BaseModel):
    role: str
    content: str | list[BlockBody] | None = None


class SampleBody(BaseModel):
    """The fields of the documented form and of the short one; any other field is metadata."""

    model_config = ConfigDict(extra="allow")

    id: Any = None
    prompt: str | list[MessageBody] | None = None
    messages: list[MessageBody] | None = None
    response: str | None = None
    reference: Any = None
    reference_answer: Any = None


class BatchBody(BaseModel):
    model_config = ConfigDict(extra="forbid")

    samples: list[SampleBody]
    reasons: bool = False


class RewardBody(BaseModel):
    id: int | str | None
    score: float | None
    reason: str | None
    criteria: dict[str, float | None]


class TotalsBody(BaseModel):
    rewards: int
    unscored: int
    input_tokens: int
    output_tokens: int
    calls: int
    cost_usd: float | None


class ReplyBody(BaseModel):
    rewards: list[RewardBody]
    totals: TotalsBody


class ReadyJudge:
    """Replaces the open judge: every sample has its reward already."""

    def __init__(self, judge: Any) -> None:
        self._judge = judge

    def __getattr__(self, name: str) -> Any:
        return getattr(self._judge, name)

    async def score(self, samples: list[Sample], **_: Any) -> list[Reward]:
        return [READY] * len(samples)


def main() -> None:
    options = sizes(__doc__, requests=(200, 5), rounds=(7, 2))
    us = asyncio.run(take_turns(options.requests, options.rounds))
    ratios = [slow / fast for slow, fast in zip(us["pydantic"], us["msgspec"], strict=True)]
    figures = [
        at_least("batches of 64 a second, over pydantic's", statistics.median(ratios), 3.0),
    ]
    details = {
        "requests_a_round": options.requests,
        "rounds": options.rounds,
        "body_bytes": len(body(range(BATCH))),
        "cpu_us_per_batch": {kind: spread(values) for kind, values in us.items()},
    }
    report("service_bodies", figures, details, smoke=options.smoke)


async def take_turns(requests: int, rounds: int) -> dict[str, list[float]]:
    """Microseconds of CPU a batch, by kind and round, after one round that is not counted."""
    app = create_app(settings_for("http://none"), environ={}, model=InstantJudge())
    app.add_api_route("/pydantic", with_pydantic, methods=["POST"], response_model=ReplyBody)
    paths = {"msgspec": "/v1/rewards", "pydantic": "/pydantic"}
    us: dict[str, list[float]] = {kind: [] for kind in paths}
    async with app.router.lifespan_context(app):
        app.state.judge = ReadyJudge(app.state.judge)
        for number in range(rounds + 1):
            for kind, path in paths.items():
                taken = await many(app, path, requests)
                if number:
                    us[kind].append(taken / requests * 1e6)
    return us


async def with_pydantic(request: Request, batch: BatchBody) -> Any:
    """The native route in the style of FastAPI's documentation: a model per body, the same rules of rows."""
    samples = [decode_row(one.model_dump(exclude_unset=True)) for one in batch.samples]
    rewards = await request.app.state.judge.score(samples)
    return ReplyBody(
        rewards=[
            RewardBody(
                id=sample.id,
                score=reward.score,
                reason=reward.reason,
                criteria={part.name: part.score for part in reward.parts},
            )
            for sample, reward in zip(samples, rewards, strict=True)
        ],
        totals=TotalsBody(
            rewards=len(rewards),
            unscored=sum(reward.score is None for reward in rewards),
            input_tokens=sum(reward.usage.input_tokens for reward in rewards),
            output_tokens=sum(reward.usage.output_tokens for reward in rewards),
            calls=sum(reward.usage.calls for reward in rewards),
            cost_usd=None,
        ),
    )


async def many(app: FastAPI, path: str, requests: int) -> float:
    """CPU seconds of a number of requests."""
    bodies = [body(range(BATCH * number, BATCH * (number + 1))) for number in range(requests)]
    before_s = cpu_s()
    for content in bodies:
        await one(app, path, content)
    return cpu_s() - before_s


async def one(app: FastAPI, path: str, content: bytes) -> None:
    """Calls the application like uvicorn; raises if the status is not 200."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80),
        "scheme": "http",
    }
    told = iter([{"type": "http.request", "body": content, "more_body": False}])

    async def receive() -> Any:
        try:
            return next(told)
        except StopIteration:
            return await asyncio.Event().wait()  # the caller stays

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start" and message["status"] != 200:
            raise RuntimeError(f"{path} answered {message['status']}")

    await app(scope, receive, send)


if __name__ == "__main__":
    main()
