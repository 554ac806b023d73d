import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from judge_service.flow import Request
from judge_service.grading import Grader, Rubric, load_rubric
from judge_service.values import Completion, Prompt, Usage

ROOT = Path(__file__).parents[2]
QUALITY = ROOT / "examples" / "rubrics" / "quality.toml"


def cases(name: str) -> list[Any]:
    return json.loads((ROOT / "tests" / "data" / "grading" / f"{name}.json").read_text("utf-8"))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """An argument named after a corpus gets every case of it."""
    for name, argument in (("replies", "reply"), ("injections", "injection")):
        if argument in metafunc.fixturenames:
            table = cases(name)
            metafunc.parametrize(argument, table, ids=[case["name"] for case in table])


class ScriptedJudge:
    """Plays its script, an answer per call, the last one for ever, and remembers the prompts."""

    def __init__(self, *script: Any) -> None:
        self.script = list(script)
        self.prompts: list[Prompt] = []
        self.requests: list[Request[Prompt]] = []

    async def __call__(self, request: Request[Prompt]) -> Completion:
        self.requests.append(request)
        self.prompts.append(request.body)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if callable(step):
            step = step(request.body)
        if isinstance(step, BaseException):
            raise step
        if isinstance(step, str):
            return Completion(text=step, usage=Usage(100, 5, calls=1), model="judge-1")
        return step


@pytest.fixture
def judge() -> type[ScriptedJudge]:
    return ScriptedJudge


@pytest.fixture(scope="session")
def similarity() -> Rubric:
    return load_rubric("similarity")


@pytest.fixture(scope="session")
def quality() -> Rubric:
    return load_rubric(str(QUALITY))


@pytest.fixture
def make_grader(similarity: Rubric) -> Callable[..., Grader]:
    def make(model: Any, **changes: Any) -> Grader:
        options: dict[str, Any] = {
            "rubric": similarity,
            "channels": ("text",),
            "answer": "auto",
            "fence_secret": b"a secret of tests",
            "temperature": 0.0,
            "max_reasks": 1,
            "max_sample_chars": 10_000,
            "price": lambda usage: usage.input_tokens / 1000,
        }
        return Grader(model=model, **(options | changes))

    return make
