import pytest
from hypothesis import given
from hypothesis import strategies as st

from judge_service.backends.embedded.lexical import (
    NEGATION_FLOOR,
    NUMBER_FLOOR,
    chrf,
    negation_factor,
    normalise,
    number_factor,
    numbers,
    says_something,
)


def test_chrf_follows_the_published_formula_on_a_case_worked_by_hand() -> None:
    # "abc" and "abd": 1-grams 2/3, 2-grams 1/2, 3-grams 0/1, so P = R = F = (2/3 + 1/2 + 0) / 3
    assert chrf("abc", "abd") == pytest.approx((2 / 3 + 1 / 2) / 3)


def test_chrf_weighs_recall_twice_as_much_as_precision() -> None:
    # 1-grams of "ab" in "abab": P = 1, R = 1/2; 2-grams: P = 1, R = 1/3
    precision, recall = 1.0, (1 / 2 + 1 / 3) / 2
    assert chrf("ab", "abab") == pytest.approx(5 * precision * recall / (4 * precision + recall))
    assert chrf("abab", "ab") > chrf("ab", "abab")


@given(st.text(max_size=60), st.text(max_size=60))
def test_everything_lexical_stays_in_its_range_for_any_text(one: str, other: str) -> None:
    one, other = normalise(one), normalise(other)

    assert 0 <= chrf(one, other) <= 1
    assert NUMBER_FLOOR <= number_factor(one, other) <= 1
    assert negation_factor(one, other) in {NEGATION_FLOOR, 1.0}


@pytest.mark.parametrize("text", ["", " \n", ":", "..."])
def test_a_text_without_letters_or_digits_says_nothing(text: str) -> None:
    assert not says_something(text)
    assert chrf(text, "reference") == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1,000.50 euros", ["1000.5"]),
        ("from 3 to -4", ["3", "-4"]),
        ("10-12 days", ["10", "12"]),
        ("twenty-five of thirty", ["25", "30"]),
        ("1,2,3", ["1", "2", "3"]),
        ("1. first\n2) second: 7", ["7"]),
        ("b2b on h264", []),
        ("\uff11\uff12", ["12"]),
        ("0.0 and -0 and 007", ["0", "0", "7"]),
        pytest.param("9" * 5000, ["9" * 5000], id="no digit is rounded away"),
    ],
)
def test_numbers_are_read_in_one_notation(text: str, expected: list[str]) -> None:
    assert numbers(normalise(text)) == expected


@pytest.mark.parametrize(
    ("response", "reference", "expected"),
    [
        ("it costs 12 euros", "12 euros", 1.0),
        ("it costs twelve euros", "12 euros", 1.0),
        ("it costs 21 euros", "12 euros", NUMBER_FLOOR),
        ("it costs some euros", "12 euros", NUMBER_FLOOR),
        ("about 40 euros", "some euros", 1.0),
        ("nobody", "one of them", 1.0),
        ("so 3 * 6 = 18", "3 * 6 is 18 #### 18", 1.0),
        ("18 is wrong, it is 19", "3 * 6 is 18 #### 18", NUMBER_FLOOR),
    ],
)
def test_the_number_gate(response: str, reference: str, expected: float) -> None:
    assert number_factor(response, reference) == pytest.approx(expected)


def test_a_missing_number_costs_more_than_one_too_many() -> None:
    assert number_factor("7", "7 and 9") < number_factor("7 and 8 and 9", "7 and 9") < 1


@pytest.mark.parametrize(
    ("response", "reference", "fires"),
    [
        ("you may not go", "you may go", True),
        ("you can\u2019t go", "you can go", True),
        ("no", "yes", True),
        ("do not go", "don't go", False),
        ("it is not impossible, not at all", "it is possible", False),
        ("don't take it before asking", "do not take it without asking", False),
        ("nothing " * 51, "everything", False),
    ],
)
def test_the_negation_gate(response: str, reference: str, fires: bool) -> None:
    factor = negation_factor(normalise(response), normalise(reference))

    assert factor == (NEGATION_FLOOR if fires else 1.0)
