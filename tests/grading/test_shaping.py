import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.grading.shaping import (
    LengthShaping,
    RepetitionShaping,
    Shaping,
    repeated_share,
)

WEIGHT = st.floats(0.01, 1)
SHAPING = st.builds(
    Shaping,
    st.builds(LengthShaping, st.integers(0, 50), st.integers(50, 100), WEIGHT),
    st.builds(RepetitionShaping, st.integers(1, 6), st.floats(0, 0.9), WEIGHT),
)


@pytest.mark.parametrize(
    ("chars", "factor"),
    [(0, 0.6), (50, 0.8), (100, 1.0), (200, 1.0), (300, 0.8), (400, 0.6), (4_000, 0.6)],
)
def test_length_costs_nothing_inside_its_bounds_and_more_the_further_outside(
    chars: int, factor: float
) -> None:
    assert LengthShaping(100, 200, 0.4).factor(chars) == pytest.approx(factor)


def test_a_length_without_an_upper_bound_has_none() -> None:
    assert LengthShaping(100, None, 0.4).factor(10**9) == 1.0


@pytest.mark.parametrize(("repeated", "factor"), [(0.0, 1.0), (0.2, 1.0), (0.6, 0.75), (1.0, 0.5)])
def test_repetition_costs_more_the_more_is_repeated(repeated: float, factor: float) -> None:
    assert RepetitionShaping(4, 0.2, 0.5).factor(repeated) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("text", "share"),
    [
        ("", 0.0),
        ("one two three " * 3, 0.0),  # too short to say
        (" ".join(f"word{n}" for n in range(100)), 0.0),
        ("the same words again " * 25, 93 / 97),  # 97 phrases of four words, 4 of them different
        ("The SAME, words: again. " * 25, 93 / 97),
        ("\u540c\u3058" * 50, 95 / 97),
    ],
    ids=["empty", "short", "all new", "all old", "whatever the case", "without spaces"],
)
def test_the_share_is_of_phrases_that_stood_there_before(text: str, share: float) -> None:
    assert repeated_share(text, 4) == pytest.approx(share)


@given(SHAPING, st.text(max_size=300))
def test_no_factor_raises_a_reward_or_turns_it_negative(shaping: Shaping, text: str) -> None:
    factors = shaping.factors(text)
    assert factors.keys() == {"length_factor", "repetition_factor"}
    assert all(0.0 <= factor <= 1.0 for factor in factors.values())


def test_nothing_is_shaped_by_default() -> None:
    assert Shaping().factors("again " * 1_000) == {}


@pytest.mark.parametrize(
    "text", ["a" * 400_000, "a " * 200_000, "\u540c" * 400_000, "_-" * 200_000]
)
def test_the_longest_sample_does_not_hold_up_the_loop(text: str) -> None:
    started = time.process_time()
    repeated_share(text, 4)
    assert time.process_time() - started < 0.4  # measured 0.01 to 0.05 s


def test_of_a_long_text_the_middle_is_not_read() -> None:
    first, last = ("".join(f"{name}{n} " for n in range(5_000)) for name in ("one", "two"))
    assert repeated_share(first + "the same words again " * 5_000 + last, 4) == 0.0


def test_of_a_long_text_both_ends_are_read() -> None:
    new = " ".join(f"word{n}" for n in range(20_000))
    old = "the same words again " * 5_000
    assert repeated_share(new, 4) == 0.0
    assert repeated_share(new + old, 4) > 0.4
    assert repeated_share(old + new, 4) > 0.4
