"""Lambda environments for the benchmarks: real runtime clients, each with a local Runtime API."""

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import msgspec
from measuring import ENVIRON, MODEL, ROOT
from msgspec import Struct

sys.path.insert(0, str(ROOT))  # the Runtime API is the tests'

from tests.lambda_adapter.runtime_api import RuntimeApi, function

BATCH = 64
"""Samples in an invocation of a SageMaker training job."""


class Invocations(Struct):
    """The results of the callers of a fleet.

    errors: the first few failed invocations, as the platform would see them.
    """

    answered: int = 0
    samples: int = 0
    unscored: int = 0
    failed: int = 0
    errors: list[str] = msgspec.field(default_factory=list)
    seconds: list[float] = msgspec.field(default_factory=list)


def configured(url: str, **variables: object) -> dict[str, str]:
    """The function's environment: a Bedrock judge at `url`, and settings by their variables."""
    return {
        **os.environ,
        **ENVIRON,
        "AWS_DEFAULT_REGION": ENVIRON["AWS_REGION"],  # what boto3 reads
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": MODEL,
        "JUDGE_BEDROCK_ENDPOINT_URL": url,
        "JUDGE_LOGS_SAMPLE_RATE": "0",
        **{name: str(value) for name, value in variables.items()},
    }


@contextmanager
def fleet(number: int, environment: Mapping[str, str]) -> Iterator[list[RuntimeApi]]:
    """Starts `number` environments of the function."""
    with ExitStack() as running:
        yield [running.enter_context(function(**environment)) for _ in range(number)]


def rows(first: int, count: int) -> list[dict[str, Any]]:
    """Different rollouts in the form of a SageMaker training job."""
    return [
        {
            "id": f"rollout-{number}",
            "messages": [
                {"role": "user", "content": f"When was house {number} built, and by whom?"},
                {"role": "assistant", "content": f"House {number} was built by the parish."},
            ],
            "reference_answer": f"House {number} was built in {1500 + number % 500}.",
        }
        for number in range(first, first + count)
    ]


def invoke(api: RuntimeApi, event: list[dict[str, Any]], seen: Invocations) -> None:
    """Makes one invocation, and counts it."""
    started_s = time.monotonic()
    kind, reply = api.invoke(event, timeout_s=60.0)
    seen.seconds.append(time.monotonic() - started_s)
    if kind != "response":
        seen.failed += 1
        seen.errors = [*seen.errors, str(reply)][:5]
        return
    seen.answered += 1
    seen.samples += len(reply)
    seen.unscored += sum("unscored_reason" in item for item in reply)


def keep_busy(apis: list[RuntimeApi], batch: int, until_s: float) -> Callable[[], Invocations]:
    """Invokes all environments repeatedly. Returns a function that waits for the end and adds the results."""
    each = [Invocations() for _ in apis]

    def caller(place: int) -> None:
        first = place * 10_000_000
        while time.monotonic() < until_s:
            invoke(apis[place], rows(first, batch), each[place])
            first += batch

    threads = [Thread(target=caller, args=(place,), daemon=True) for place in range(len(apis))]
    for thread in threads:
        thread.start()

    def end() -> Invocations:
        for thread in threads:
            thread.join()
        return Invocations(
            answered=sum(one.answered for one in each),
            samples=sum(one.samples for one in each),
            unscored=sum(one.unscored for one in each),
            failed=sum(one.failed for one in each),
            errors=[error for one in each for error in one.errors][:5],
            seconds=[second for one in each for second in one.seconds],
        )

    return end
