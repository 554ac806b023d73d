"""Finds problems that prevent judging with one small call."""

import asyncio

from judge_service.errors import CallError
from judge_service.flow import Handler, Request
from judge_service.values import Completion, Message, Prompt, Question

PROBE_TIMEOUT_S = 20.0

PROBE = Prompt(
    question=Question(criteria=(), task="", response=""),
    messages=(Message("user", "Answer with the digit 1."),),
    max_output_tokens=1,
    temperature=None,
)


async def problems(model: Handler[Prompt, Completion]) -> list[str]:
    """Asks for one token. Returns one line per problem with its remedy, none if the judge answered."""
    deadline = asyncio.get_running_loop().time() + PROBE_TIMEOUT_S
    try:
        await model(Request(body=PROBE, deadline=deadline))
    except CallError as problem:
        if problem.throttled:
            return []  # the judge accepts calls and is only busy
        return [" ".join(str(problem).split())]
    return []
