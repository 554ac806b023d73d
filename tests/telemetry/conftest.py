"""Fixtures with log lines in a list, and rewards for them."""

import json
from typing import Any

import pytest

from judge_service.telemetry.events import SampleGraded
from judge_service.telemetry.lines import Lines
from judge_service.values import Part, Reward, Usage


class Page:
    """Where blocks of lines are written to in tests."""

    def __init__(self) -> None:
        self.blocks: list[bytes] = []

    def __call__(self, block: bytes) -> None:
        self.blocks.append(block)

    def records(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in b"".join(self.blocks).splitlines()]


class Written:
    """Lines and what became of them."""

    def __init__(self) -> None:
        self.page = Page()
        self.lines = Lines(self.page)

    def records(self) -> list[dict[str, Any]]:
        assert self.lines.flush()
        return self.page.records()


@pytest.fixture
def written() -> Written:
    return Written()


def graded(
    ident: Any = "a",
    score: float | None = 0.5,
    *,
    duration_s: float = 0.25,
    parts: dict[str, float | None] | None = None,
    response: str | None = None,
    **reward: Any,
) -> SampleGraded:
    if score is None:
        reward.setdefault("reason", "throttled")
    return SampleGraded(
        id=ident,
        duration_s=duration_s,
        rubric="helpfulness@0123456789abcdef",
        response=response,
        reward=Reward(
            score=score,
            parts=tuple(Part(name, value, 1.0) for name, value in (parts or {}).items()),
            usage=reward.pop("usage", Usage(input_tokens=100, output_tokens=5, calls=1)),
            **reward,
        ),
    )
