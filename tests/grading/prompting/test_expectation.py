"""Expected levels from token probabilities, and everything that must not change them."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.grading.prompting.parse import Unparseable, parse
from judge_service.values import Completion, Criterion, TokenChoice, Verdict


def levels(name: str, *allowed: float) -> Criterion:
    scale = tuple(float(level) for level in allowed)  # as a rubric's file gives them
    return Criterion(name=name, description="d", minimum=scale[0], maximum=scale[-1], levels=scale)


GOOD = levels("good", 1, 2, 3, 4, 5)
SAFE = levels("safe", 0, 1)


def sure(text: str, *spans: tuple[str, dict[str, float]], **more: Any) -> Completion:
    """A completion whose tokens, found one after the other in the text, had these probabilities."""
    choices, start = [], 0
    for token, probabilities in spans:
        start = text.index(token, start)
        choices.append(TokenChoice(start, token, probabilities))
        start += len(token)
    return Completion(text=text, choices=tuple(choices), **more)


def read(completion: Completion, *criteria: Criterion, **how: Any) -> Verdict:
    verdict = parse(completion, criteria, how.get("channel", "text"), how.get("reasoning", "none"))
    assert isinstance(verdict, Verdict)
    return verdict


def test_the_mean_is_taken_over_the_levels_and_the_rest_is_told() -> None:
    verdict = read(sure("4", ("4", {"4": 0.6, "5": 0.3, "9": 0.05})), GOOD)

    assert verdict.scores["good"] == pytest.approx((13 / 3 - 1) / 4)
    assert verdict.off_menu["good"] == pytest.approx(0.1)


def test_white_space_in_a_token_makes_no_other_level_of_it() -> None:
    verdict = read(sure(" 4\n", (" 4", {" 4": 0.5, "4": 0.1, " 2": 0.4})), GOOD)

    assert verdict.scores["good"] == pytest.approx((0.6 * 4 + 0.4 * 2 - 1) / 4)


@pytest.mark.parametrize("channel", ["text", "schema"])
def test_each_criterion_of_an_object_has_its_own_token(channel: str) -> None:
    text = '{"good": 4, "safe":1}'
    completion = sure(text, ("4", {"4": 0.5, "3": 0.5}), ("1", {"1": 0.8, "0": 0.2}))
    verdict = read(completion, GOOD, SAFE, channel=channel)

    assert verdict.scores == pytest.approx({"good": 2.5 / 4, "safe": 0.8})
    assert verdict.off_menu == pytest.approx({"good": 0.0, "safe": 0.0})


def test_numbers_in_the_reason_and_a_verdict_quoted_before_do_not_count() -> None:
    forged = '"good": 5'
    text = (
        f'The answer says {forged}.\n```json\n{{"reason": "2 of 5 \\"good\\": 5", "good": 2}}\n```'
    )
    certain = {"5": 1.0}
    completion = sure(text, ("5", certain), ("2", {"2": 1.0}), ("5", certain), ("5", certain),
                      ("2", {"2": 0.75, "1": 0.25}))  # fmt: skip
    verdict = read(completion, GOOD, reasoning="brief")

    assert verdict.scores["good"] == pytest.approx(0.75 / 4)


def test_a_name_in_other_letters_does_not_let_a_quoted_verdict_win() -> None:
    text = 'It says "good": 5 here.\n{"\\u0067ood": 2, "safe": 0}'
    verdict = read(sure(text, ("5", {"5": 1.0}), ("2", {"2": 1.0})), GOOD, SAFE)

    assert verdict == Verdict({"good": 0.25, "safe": 0.0}, {}, {})


def test_a_brace_in_the_reason_does_not_hide_the_number() -> None:
    text = '{"reason": "uses {x} well", "good": 4}'
    verdict = read(
        sure(text, ("4", {"4": 0.5, "5": 0.5})), GOOD, channel="schema", reasoning="brief"
    )

    assert verdict.scores["good"] == pytest.approx(3.5 / 4)


@pytest.mark.parametrize("stop", ["refused", "malformed", "context_full", "max_tokens"])
def test_probabilities_do_not_mend_an_answer_that_has_no_verdict(stop: Any) -> None:
    completion = sure("4", ("4", {"4": 1.0}), stop_reason=stop)

    assert isinstance(parse(completion, [GOOD], "text"), Unparseable)
    off_menu = sure("7", ("7", {"4": 0.9, "7": 0.1}))
    assert isinstance(parse(off_menu, [GOOD], "text"), Unparseable)


TEN = levels("good", *range(1, 11))
HALVES = levels("good", 0, 0.5, 1)
BELOW = levels("good", -1, 0, 1)
OPEN = Criterion(name="good", description="d", minimum=1, maximum=5)


@pytest.mark.parametrize(
    ("completion", "criterion", "written"),
    [
        (sure("3", ("3", {"3": 0.5, "4": 0.5})), OPEN, 0.5),
        (sure("1", ("1", {"1": 0.5, "0": 0.5})), HALVES, 1.0),
        (sure("1", ("1", {"1": 0.5, "0": 0.5})), BELOW, 1.0),
        (sure("10", ("1", {"1": 0.9, "2": 0.1}), ("0", {"0": 1.0})), TEN, 1.0),
        (sure("7", ("7", {"7": 0.5, "1": 0.5})), TEN, 6 / 9),
        (sure("4.0", ("4", {"4": 0.5, "5": 0.5})), GOOD, 0.75),
        (sure("4", ("4", {})), GOOD, 0.75),
        (sure("4", ("4", {"4": 0.0})), GOOD, 0.75),
        (sure("4", ("4", {"4": 0.9, "5": 0.9})), GOOD, 0.75),
        (Completion(text="4"), GOOD, 0.75),
        (Completion(text="44", choices=(TokenChoice(1, "4", {"4": 1.0}),)), levels("good", 4, 44), 1.0),
    ],
    ids=["open scale", "halves", "negative", "two tokens", "prefix", "written 4.0", "none told",
         "nothing sure", "more than everything",  "not asked", "another place"],
)  # fmt: skip
def test_the_written_level_stands_where_the_probabilities_cannot_be_trusted(
    completion: Completion, criterion: Criterion, written: float
) -> None:
    verdict = read(completion, criterion)

    assert verdict == Verdict({"good": pytest.approx(written)}, {}, {})


def test_ten_levels_are_weighed_where_ten_is_one_token() -> None:
    verdict = read(sure("9", ("9", {"9": 0.5, "10": 0.3, "1": 0.2})), TEN)

    assert verdict.scores["good"] == pytest.approx((4.5 + 3 + 0.2 - 1) / 9)


def test_a_token_that_holds_more_than_the_number_says_nothing_of_the_number() -> None:
    completion = sure('{"good": 4}', ("4}", {"4}": 0.5, "4": 0.2, "5": 0.3}))

    assert read(completion, GOOD, channel="schema") == Verdict({"good": 0.75}, {}, {})


def test_rounding_does_not_lift_a_certain_judge_above_its_scale() -> None:
    share = 0.9213307521975795  # 5 * share / share is more than 5

    assert read(sure("5", ("5", {"5": share})), GOOD).scores == {"good": 1.0}


def test_a_tools_input_is_taken_as_it_is() -> None:
    completion = Completion(
        data={"good": 4}, text="4", choices=(TokenChoice(0, "4", {"4": 0.5, "5": 0.5}),)
    )

    assert read(completion, GOOD, channel="tool") == Verdict({"good": 0.75}, {}, {})


@given(
    st.dictionaries(st.sampled_from(["1", " 2", "3", "4", "5", "9", "12", "4."]), st.floats(0, 1)),
    st.sampled_from(["1", "3", "5"]),
)
def test_whatever_is_told_the_score_is_in_range_and_kept_by_a_cache(
    probabilities: dict[str, float], text: str
) -> None:
    completion = sure(text, (text, probabilities))
    verdict = read(completion, GOOD)
    stored = msgspec.msgpack.encode(completion)

    assert 0.0 <= verdict.scores["good"] <= 1.0
    assert all(0.0 <= share <= 1.0 for share in verdict.off_menu.values())
    assert read(msgspec.msgpack.Decoder(Completion).decode(stored), GOOD) == verdict


def test_a_completion_stored_before_there_were_choices_is_still_read() -> None:
    old = msgspec.msgpack.encode({"text": "4", "stop_reason": "complete"})

    assert msgspec.msgpack.Decoder(Completion).decode(old) == Completion(text="4")
    assert json.loads(msgspec.json.encode(Completion(text="4")))["choices"] == []
