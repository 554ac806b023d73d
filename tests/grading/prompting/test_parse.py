from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.grading import Unparseable, parse
from judge_service.values import UNSCORED_REASONS, Completion, Criterion, StopReason, Verdict

CRITERIA = {
    "unit": (Criterion(name="score", description=""),),
    "levels": (
        Criterion(name="score", description="", minimum=1, maximum=5, levels=(1, 2, 3, 4, 5)),
    ),
    "signed": (Criterion(name="score", description="", minimum=-1, maximum=1),),
    "pair": (Criterion(name="good", description=""), Criterion(name="safe", description="")),
}


def outcome(verdict: Verdict | Unparseable) -> Any:
    if isinstance(verdict, Unparseable):
        return verdict.reason
    return {**verdict.scores, **verdict.unscorable}


def test_a_reply_gives_exactly_the_verdict_of_the_table(reply: dict[str, Any]) -> None:
    completion = Completion(
        text=reply["text"], data=reply.get("data"), stop_reason=reply["stop_reason"]
    )
    verdict = parse(completion, CRITERIA[reply["rubric"]], reply["channel"], reply["reasoning"])
    assert outcome(verdict) == reply["expect"]


@pytest.mark.parametrize(
    "text", ["[" * 60_000, '{"good":' * 20_000, '{"good":0.5,"safe":1}' + " " * 100_000 + "x"]
)
@pytest.mark.parametrize("channel", ["schema", "text"])
def test_a_monstrous_reply_is_only_unparseable(text: str, channel: Any) -> None:
    assert outcome(parse(Completion(text=text), CRITERIA["pair"], channel)) == "unparseable"


def test_the_detail_carries_no_text_of_the_judge() -> None:
    for text in ("LEAK", '{"LEAK": 1}', '{"score": "LEAK"}'):
        for channel in ("text", "schema"):
            verdict = parse(Completion(text=text), CRITERIA["unit"], channel)
            assert isinstance(verdict, Unparseable)
            assert "LEAK" not in verdict.detail


def test_minus_zero_becomes_zero() -> None:
    verdict = parse(Completion(text="-0.0"), CRITERIA["unit"], "text")
    assert isinstance(verdict, Verdict)
    assert str(verdict.scores["score"]) == "0.0"


@pytest.mark.parametrize("score", [float("nan"), float("inf"), 10**400, -(10**400), "1", [1]])
def test_measured_data_is_checked_like_any_answer(score: Any) -> None:
    verdict = parse(Completion(data={"score": score}), CRITERIA["unit"], "text")
    assert outcome(verdict) == "unparseable"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NEAR_TEXT = st.text() | st.lists(
    st.sampled_from(
        ['{"good":', ',"safe":', "}", "{", "0.5", "1", "\n", "```", "```json", "NaN", "null", '"']
    )
).map("".join)
DATA = st.none() | st.dictionaries(st.sampled_from(["score", "good", "safe", "reason"]), VALUES)


STOPS = st.sampled_from(get_args(StopReason))
CHANNELS: Any = st.sampled_from(["schema", "tool", "text"])
REASONING: Any = st.sampled_from(["none", "brief"])


@given(
    completion=st.builds(Completion, text=st.none() | NEAR_TEXT, data=DATA, stop_reason=STOPS),
    rubric=st.sampled_from(sorted(CRITERIA)),
    channel=CHANNELS,
    reasoning=REASONING,
)
def test_whatever_comes_back_is_a_score_in_range_or_a_known_reason(
    completion: Completion, rubric: str, channel: Any, reasoning: Any
) -> None:
    verdict = parse(completion, CRITERIA[rubric], channel, reasoning)
    if isinstance(verdict, Unparseable):
        assert verdict.reason in UNSCORED_REASONS
        return
    assert all(0.0 <= score <= 1.0 for score in verdict.scores.values())
    names = [criterion.name for criterion in CRITERIA[rubric]]
    assert sorted([*verdict.scores, *verdict.unscorable]) == sorted(names)


@given(before=NEAR_TEXT, good=st.integers(0, 4), safe=st.integers(0, 4))
def test_text_before_the_final_verdict_may_take_its_force_and_never_changes_it(
    before: str, good: int, safe: int
) -> None:
    final = f'\n{{"good": {good / 4}, "safe": {safe / 4}}}'
    verdict = parse(Completion(text=before + final), CRITERIA["pair"], "text")
    assert isinstance(verdict, Unparseable) or verdict == Verdict(
        {"good": good / 4, "safe": safe / 4}, {}
    )


@given(after=NEAR_TEXT.filter(lambda text: "{" not in text and text.strip(" \t\r\n\f\v")))
def test_text_after_a_verdict_takes_its_force(after: str) -> None:
    verdict = parse(Completion(text='{"good":1,"safe":1}' + after), CRITERIA["pair"], "text")
    assert outcome(verdict) == "unparseable"
