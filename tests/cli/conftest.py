"""A double of the service whose answers a test chooses."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from judge_service.assembly.trial import Trial
from judge_service.cli.journal import Entry, Journal, journal_path
from judge_service.cli.progress import Silence
from judge_service.cli.rows import open_rows
from judge_service.cli.score import Work, judge_rows
from judge_service.cli.summary import RunFacts
from judge_service.grading import Rubric, load_rubric
from judge_service.settings import Settings
from judge_service.telemetry.state import ServiceState
from judge_service.throughput import Throughput, expect
from judge_service.values import Part, Reward, Sample, Usage

Verdict = float | str | BaseException

IN_FLIGHT = 16
JUDGE = [sys.executable, "-m", "judge_service"]


@contextmanager
def started(*arguments: str, **options: Any) -> Iterator[subprocess.Popen[str]]:
    """A command that is gone when the block ends."""
    process = subprocess.Popen([*JUDGE, *arguments], text=True, **options)
    try:
        with process:
            yield process
            process.kill()
    finally:
        process.kill()


@pytest.fixture
def environment(simulator: str) -> dict[str, str]:
    """What points a judge at the simulator, and nothing of the caller's own settings."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("JUDGE_", "AWS_"))
    }
    return kept | {
        "JUDGE_BACKEND": "bedrock",
        "JUDGE_MODEL": "simulated",
        "JUDGE_BEDROCK_REGION": "us-east-1",
        "JUDGE_BEDROCK_ENDPOINT_URL": simulator,
        "JUDGE_LIMITS_MAX_IN_FLIGHT": str(IN_FLIGHT),
        "AWS_ACCESS_KEY_ID": "any",
        "AWS_SECRET_ACCESS_KEY": "any",
    }


class FakeJudge:
    """answer: a score, the word for why there is none, or what to raise."""

    def __init__(self, answer: Callable[[Sample], Verdict]) -> None:
        self.settings = Settings()
        self.rubric: Rubric = load_rubric("similarity")
        self.model = "fake"
        self.judged: list[Any] = []
        self.largest_window = 0
        self.problems: list[str] = []
        self.explanation = ""
        self._answer = answer

    @asynccontextmanager
    async def open(self, settings: Settings, _sink: Any = None) -> AsyncIterator["FakeJudge"]:
        self.settings = settings
        yield self

    @property
    def instrument(self) -> dict[str, str]:
        return {"backend": self.settings.backend, "model": self.model}

    def expect(self, *, text_tokens: int = 300) -> Throughput:
        return expect(self.settings.limits, input_tokens=text_tokens + 190, output_tokens=10)

    async def try_out(self, samples: Sequence[Sample]) -> Trial:
        rewards = [reward_of(self._answer(one)) for one in samples or [Sample()]]  # type: ignore[arg-type]
        return Trial(
            rewards=tuple(rewards),
            calls=(),
            duration_s=0.1,
            is_built_in=not samples,
            targets=tuple(self.problems),
        )

    def statistics(self) -> ServiceState:
        return ServiceState(model="fake", rubric="similarity", targets=(), groups=0, flat_groups=0)

    async def stream(
        self, jobs: AsyncIterator[tuple[Any, Sample]], *, window: int, **_: Any
    ) -> AsyncIterator[tuple[Any, Reward]]:
        waiting: list[tuple[Any, Sample]] = []
        async for job in jobs:
            waiting.append(job)
            self.largest_window = max(self.largest_window, len(waiting))
            if len(waiting) >= window:
                yield await self._finish(waiting.pop())
        while waiting:  # the last first: results come in any order
            yield await self._finish(waiting.pop())

    async def _finish(self, job: tuple[Any, Sample]) -> tuple[Any, Reward]:
        key, sample = job
        verdict = self._answer(sample)
        if isinstance(verdict, BaseException):
            raise verdict
        self.judged.append(sample.id)
        await asyncio.sleep(0)
        reward = reward_of(verdict)
        return key, reward if reward.score is None else replace(
            reward, explanation=self.explanation
        )


def reward_of(verdict: float | str) -> Reward:
    if isinstance(verdict, str):
        part = Part("similarity", None, 1.0, verdict)
        return Reward(score=None, reason=verdict, detail=f"because of {verdict}", parts=(part,))
    usage = Usage(input_tokens=100, output_tokens=5, calls=1)
    return Reward(score=verdict, parts=(Part("similarity", verdict, 1.0),), usage=usage)


def entry(position: int, verdict: float | str = 0.5, *, group: str = "g") -> Entry:
    return Entry(position, bytes([position % 256]) * 32, group, b"1", reward_of(verdict))


def row(number: Any, *, prompt: str = "What is 2 + 2?", answer: str = "4") -> dict[str, Any]:
    return {
        "id": number,
        "messages": [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": answer},
        ],
        "reference_answer": "four",
    }


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Bench:
    """`judge score` without its command line, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.input = directory / "in.jsonl"
        self.output = directory / "out.jsonl"
        self.settings = Settings()

    def run(self, judge: FakeJudge, **work: Any) -> RunFacts:
        max_bytes = self.settings.wire.max_event_bytes
        with open_rows(str(self.input), max_bytes) as rows, self.journal() as journal:
            asked = Work(rows=rows, settings=self.settings, **{"window": 4, **work})
            return asyncio.run(judge_rows(asked, journal, Silence(), judge.open))

    def journal(self) -> Journal:
        return Journal(journal_path(self.output))


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)
