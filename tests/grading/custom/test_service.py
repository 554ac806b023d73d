"""A custom grader behind the service, the command line and the Lambda function."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from blockbuster import BlockBuster

from judge_service.cli import main
from judge_service.errors import SettingsError, TooManyUnscored
from judge_service.service import open_service
from judge_service.settings import Settings, load_settings
from judge_service.values import Sample
from lambda_adapter.handler import Environment

TEXT = """
def f(sample):
    if sample.response == "bug":
        raise ValueError("a bug")
    return len(sample.response) / 10

def compute_score(data_source, solution_str, ground_truth, extra_info=None):
    return {"score": float(solution_str == ground_truth), "length": len(solution_str)}

def only_sums(prompts, completions, kind, **columns):
    return [1.0 if kind[0] == "sum" else None]
"""


@pytest.fixture
def _command_line_may_block(_no_blocking: BlockBuster) -> None:
    """It has its loop to itself."""
    for function in _no_blocking.functions.values():
        function.can_block_in("judge_service/settings/reading.py", {"read_file"})


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Any]:
    (tmp_path / "own_s.py").write_text(TEXT)

    def make(function: str = "f", **more: str) -> Settings:
        environ = {f"JUDGE_{key.upper()}": value for key, value in more.items()}
        return load_settings(
            None, {"JUDGE_GRADER": f"{tmp_path / 'own_s.py'}:{function}", **environ}
        )

    yield make
    sys.modules.pop("judge_grader_own_s", None)


def row(number: int, response: str, **more: Any) -> dict[str, Any]:
    return {
        "id": number,
        "messages": [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": response},
        ],
        "ground_truth": "right",
        **more,
    }


async def test_rewards_are_the_functions_and_no_judge_is_loaded(settings: Any) -> None:
    async with open_service(settings()) as judge:
        rewards = await judge.score([Sample(id=n, response="x" * n) for n in range(5)])
        layers = judge.explain()

    assert [reward.score for reward in rewards] == [0.0, 0.1, 0.2, 0.3, 0.4]
    assert judge.model == judge.settings.grader
    assert [name for name, _ in layers] == ["per sample"]
    assert judge.expect().evaluations_per_s is None


async def test_the_wire_range_is_applied_to_it(settings: Any) -> None:
    async with open_service(settings(wire_score_range="-1..1")) as judge:
        [item] = await judge.answer([row(1, "12345")])

    assert item["aggregate_reward_score"] == 0.0


async def test_every_item_has_the_same_metrics_also_the_one_without_an_answer(
    settings: Any,
) -> None:
    async with open_service(settings("compute_score")) as judge:
        rows = [row(1, "right"), row(2, "wrong, this one"), {"messages": []}]
        items = await judge.answer(rows)

    metrics = [{m["name"]: m["value"] for m in item["metrics_list"]} for item in items]
    assert metrics[0] == {"length": 5.0, "unscored": 0.0}
    assert metrics[1] == {"length": 15.0, "unscored": 0.0}
    assert metrics[2] == {"length": 10.0, "unscored": 1.0}
    assert [item["aggregate_reward_score"] for item in items] == [1.0, 0.0, 0.5]


async def test_rows_that_are_not_meant_for_it_do_not_fail_the_batch(settings: Any) -> None:
    async with open_service(settings("only_sums")) as judge:
        items = await judge.answer([row(1, "x", kind="sum"), *([row(2, "x", kind="poem")] * 3)])

    assert [item.get("unscored_reason") for item in items] == [None, *["abstained"] * 3]
    assert items[1]["aggregate_reward_score"] == 1.0


async def test_a_bug_in_most_rows_fails_the_batch_with_its_line(settings: Any) -> None:
    async with open_service(settings()) as judge:
        with pytest.raises(TooManyUnscored, match=r"failed at own_s\.py:4: ValueError: a bug"):
            await judge.answer([row(1, "bug"), row(2, "bug"), row(3, "x")])


async def test_responses_are_ranked_by_it(settings: Any) -> None:
    async with open_service(settings()) as judge:
        ranking = await judge.rank([Sample(response="x"), Sample(response="xxx")])

    assert ranking.ranks == (2, 1)
    assert not ranking.compared


def test_the_lambda_function_uses_it(settings: Any) -> None:
    environment = Environment(lambda: settings())  # noqa: PLW0108 - the fixture's own defaults
    try:
        [item] = environment.answer([row(1, "123")], None)
    finally:
        environment.close()

    assert item["aggregate_reward_score"] == 0.3


@pytest.mark.usefixtures("_command_line_may_block")
def test_the_command_line_uses_it(
    settings: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "judge.toml").write_text('grader = "own_s.py:f"\n')
    (tmp_path / "in.jsonl").write_text(json.dumps(row(1, "1234")) + "\n")
    config = ["--config", str(tmp_path / "judge.toml")]

    assert main(["check", "--sample", str(tmp_path / "in.jsonl"), *config]) == 0
    assert "own_s.py:f: no judge was called" in capsys.readouterr().out
    out = tmp_path / "out.jsonl"
    assert main(["score", str(tmp_path / "in.jsonl"), "-o", str(out), "--quiet", *config]) == 0
    assert json.loads(out.read_text())["aggregate_reward_score"] == 0.4


@pytest.mark.usefixtures("_command_line_may_block")
def test_the_command_line_says_what_is_wrong_with_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.py").write_text("import no_such")
    (tmp_path / "judge.toml").write_text('grader = "bad.py:f"\n')

    assert main(["check", "--config", str(tmp_path / "judge.toml")]) == 2
    assert "failed at bad.py:1: ModuleNotFoundError" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["def", "async def"])
def test_a_process_ends_though_a_call_never_does(tmp_path: Path, kind: str) -> None:
    (tmp_path / "hangs.py").write_text(
        f"import threading\n{kind} f(sample): threading.Event().wait()\n"
    )
    (tmp_path / "judge.toml").write_text(
        'grader = "hangs.py:f"\ngrader_timeout_s = 0.05\n[unscored]\nmax_fraction = 1\n'
    )
    (tmp_path / "in.jsonl").write_text(json.dumps(row(1, "x")) + "\n")
    names = ["in.jsonl", "-o", "out.jsonl", "--quiet", "--config", "judge.toml"]

    done = subprocess.run(
        [sys.executable, "-m", "judge_service", "score", *names],
        cwd=tmp_path,
        timeout=20,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    assert "none of 1 rows has a score, most often `grader_error`" in done.stderr


async def test_a_function_that_cannot_be_had_does_not_open_the_service() -> None:
    with pytest.raises(SettingsError, match="there is no module `no_such`"):
        async with open_service(load_settings(None, {"JUDGE_GRADER": "no_such:f"})):
            pass
