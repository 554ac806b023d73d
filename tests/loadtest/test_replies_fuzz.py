"""A share of `loadtest/replies_fuzz.py`, which reads a hundred thousand replies; and it can fail."""

from collections.abc import Callable
from types import ModuleType

import pytest

from judge_service.backends import answer

Script = Callable[[str], ModuleType]


async def test_no_mutation_makes_a_wrong_score_or_loses_a_verdict(script: Script) -> None:
    found = await script("replies_fuzz").run(2_000, seed=11)

    assert found["shown"] == []
    assert found["counts"]["kept"] > 500
    assert found["counts"]["killed"] > 500


@pytest.mark.parametrize("guard", ["without_reasoning", "read_verdict_object", "refuse_unseen"])
async def test_a_broken_guard_is_found(
    script: Script, monkeypatch: pytest.MonkeyPatch, guard: str
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("a bug")

    monkeypatch.setattr(answer, guard, broken if guard != "without_reasoning" else str)
    fuzz = script("replies_fuzz")
    if guard == "read_verdict_object":
        for name in ("judge_service.backends.chat.wire", "judge_service.backends.bedrock.converse"):
            monkeypatch.setattr(f"{name}.{guard}", broken)
    found = await fuzz.run(1_000, seed=11)

    assert found["counts"]["wrong"] + found["counts"]["exception"] > 5
