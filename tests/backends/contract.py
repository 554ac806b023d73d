"""The judges that the contract of `backends.Backend` is held against, and what each is asked.

Remote judges are opened as the service opens them, on the simulator, over real sockets.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from msgspec import Struct

from judge_service.backends import Backend, open_backend
from judge_service.backends.embedded.judge import LocalJudge
from judge_service.backends.scripted import Scripted
from judge_service.errors import CallError
from judge_service.flow import Request
from judge_service.grading.prompting.answer import answer_schema
from judge_service.grading.rubric.rubric import Rubric
from judge_service.settings import load_settings
from judge_service.simulator import Simulator, SimulatorConfig, simulate
from judge_service.values import Channel, Completion, Criterion, Message, Prompt, Question

SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
KEYS = {"access_key": "AKIDEXAMPLE", "secret_key": SECRET}
ENVIRON = {
    "AWS_ACCESS_KEY_ID": KEYS["access_key"],
    "AWS_SECRET_ACCESS_KEY": SECRET,
    "AWS_REGION": "us-east-1",
    "OPENAI_API_KEY": SECRET,
}
HAIKU = "us.anthropic.claude-haiku-4-5-20251001-v1:0"  # knows every channel
SCORE = Criterion(
    name="score", description="how good", minimum=1, maximum=5, levels=(1.0, 2.0, 3.0, 4.0, 5.0)
)
SIMILARITY = Criterion(name="similarity", description="how similar", needs_reference=True)
RUBRIC = Rubric(name="r", version="v", criteria=(SCORE,), system="", user="")
REQUESTS: dict[Channel, str] = {
    "schema": "Answer in the given form.",
    "tool": "Answer with the tool.",
    "text": "Output ONLY a number one of 1, 2, 3, 4, 5.",
}


PROBE = Prompt(
    question=Question(criteria=(), task="", response=""),
    messages=(Message("user", "Answer with the digit 1."),),
    max_output_tokens=1,
    temperature=None,
)


async def complaints(judge: Any) -> list[str]:
    """The sentence with which a call of one token fails, none if it is answered."""
    deadline = asyncio.get_running_loop().time() + 20.0
    try:
        await judge(Request(PROBE, deadline=deadline))
    except CallError as problem:
        return [str(problem)]
    return []


class Remote(Struct, frozen=True):
    """A judge over the network. `environ` makes it, with the simulator's address put in for `@`."""

    environ: dict[str, str]

    @asynccontextmanager
    async def open(self, url: str, **more: str) -> AsyncIterator[Backend]:
        variables = {**self.environ, "JUDGE_HTTP_CALL_TIMEOUT_S": "5", **more}
        told = {name: value.replace("@", url) for name, value in variables.items()}
        judge = open_backend(load_settings(None, told), ENVIRON)
        try:
            yield judge
        finally:
            await judge.aclose()


BEDROCK = {
    "JUDGE_BACKEND": "bedrock",
    "JUDGE_MODEL": HAIKU,
    "JUDGE_BEDROCK_ENDPOINT_URL": "@",
}
SAGEMAKER = {
    "JUDGE_BACKEND": "sagemaker",
    "JUDGE_MODEL": "judge-endpoint",
    "JUDGE_SAGEMAKER_ENDPOINT_URL": "@",
    "JUDGE_SAGEMAKER_INFERENCE_COMPONENT": "judge-component",
}
REMOTE = {
    "bedrock": Remote(BEDROCK),
    "bedrock_sdk": Remote({**BEDROCK, "JUDGE_BEDROCK_TRANSPORT": "aioboto3"}),
    "sagemaker": Remote(SAGEMAKER),
    "nova": Remote({**SAGEMAKER, "JUDGE_SAGEMAKER_DIALECT": "nova"}),
    "openai": Remote(
        {"JUDGE_BACKEND": "openai", "JUDGE_MODEL": "m", "JUDGE_OPENAI_BASE_URL": "@/v1"}
    ),
}
HERE: dict[str, Callable[[], Backend]] = {
    "local": LocalJudge.load,
    "scripted": lambda: Scripted(1.0, latency_s=0.01),
}


def prompt(channel: Channel = "text", *, sample: str = "x", **changes: Any) -> Prompt:
    """One question about one criterion, as the grader would ask it."""
    text = f"Sample {sample}.\n{REQUESTS[channel]}"
    asked = {
        "question": Question(criteria=(SCORE,), task="", response=sample),
        "messages": (Message("system", "Be fair."), Message("user", text)),
        "channel": channel,
        "schema": None if channel == "text" else answer_schema(RUBRIC),
        "max_output_tokens": 60,
    }
    return Prompt(**asked | changes)


def measured() -> Prompt:
    """A question that the embedded judge can answer."""
    question = Question(
        criteria=(SIMILARITY,), task="", response="It is Paris.", reference="It is Paris, France."
    )
    return prompt(question=question)


async def ask(judge: Backend, asked: Prompt | None = None, **envelope: Any) -> Completion:
    return await judge(Request(body=asked or prompt(), **envelope))


async def error_of(judge: Backend, asked: Prompt | None = None) -> CallError | None:
    """What a call raises, `None` for an answer. Anything but a CallError goes through."""
    try:
        await ask(judge, asked)
    except CallError as error:
        return error
    return None


@asynccontextmanager
async def judging(
    name: str, config: SimulatorConfig | None = None, **more: str
) -> AsyncIterator[tuple[Backend, Simulator]]:
    """A remote judge in front of a simulator that checks its credentials."""
    async with (
        simulate(config or SimulatorConfig(verify_sigv4=True, **KEYS)) as simulator,
        REMOTE[name].open(simulator.url, **more) as judge,
    ):
        yield judge, simulator
