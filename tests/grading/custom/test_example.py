"""The example and the documentation of custom graders are right."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from judge_service.grading.custom import loops as own_loops
from judge_service.grading.custom import score as own_score
from judge_service.grading.custom import threads as own_threads
from judge_service.service import open_service
from judge_service.settings import load_settings
from judge_service.values import Message, Sample

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "custom-grader.md").read_text()


def sample(response: str) -> Sample:
    return Sample(
        messages=(Message("user", "6 * 7?"),),
        response=response,
        reference="42",
        metadata={"answer": "42"},
    )


@pytest.mark.parametrize(
    ("function", "right", "wrong"),
    [("grade", 0.92, 0.005), ("compute_score", 1.0, 0.0), ("number_reward", 1.0, 0.0)],
)
async def test_each_function_of_the_example_rewards_the_right_number(
    function: str, right: float, wrong: float
) -> None:
    spec = f"{ROOT / 'examples' / 'custom_grader.py'}:{function}"
    async with open_service(load_settings(None, {"JUDGE_GRADER": spec})) as judge:
        rewards = await judge.score([sample("It must be 42."), sample("43")])

    assert [reward.score for reward in rewards] == pytest.approx([right, wrong])
    assert all(reward.reason is None for reward in rewards)


def test_the_settings_on_the_page_open_the_example(tmp_path: Path) -> None:
    [settings] = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "judge.toml").write_text(settings)
    (tmp_path / "custom_grader.py").write_text((ROOT / "examples" / "custom_grader.py").read_text())

    found = load_settings(tmp_path / "judge.toml")

    async def scenario() -> float | None:
        async with open_service(found) as judge:
            [reward] = await judge.score([sample("42")])
            return reward.score

    assert asyncio.run(scenario()) == pytest.approx(0.905)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (own_threads.MAX_THREADS, "up to {} threads"),
        ({8: "eight"}.get(own_loops.MAX_LOOPS), "(or {} loops)"),
        (own_score.MAX_NAMES, "At most {} names"),
        (int(load_settings().grader_timeout_s), "grader_timeout_s = {} "),
    ],
)
def test_the_pages_figures_are_the_codes(figure: Any, words: str) -> None:
    assert words.format(figure) in PAGE
