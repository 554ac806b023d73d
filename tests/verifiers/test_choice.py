import pytest

from tests.verifiers.checking import check

ROW = {"choices": ["Rome", "Paris", "Vitamin C", "A or B"]}


@pytest.mark.parametrize(
    "response",
    [
        "B",
        "b",
        "(B)",
        "B.",
        "B) Paris",
        "**B**",
        "The answer is B.",
        "The correct answer is (B).",
        "Answer: option B",
        r"\boxed{\text{B}}",
        "<answer>B</answer>",
        "Paris",
        "the answer is Paris",
        "It has the Eiffel tower.\nSo it must be B",
    ],
)
def test_a_letter_or_its_text_is_an_answer(response: str) -> None:
    assert check("choice", response, "B", row=ROW).score == 1.0


@pytest.mark.parametrize(
    "response",
    [
        "C",
        "A",
        "Rome",
        "B) Rome",
        "A, B",
        "A, B, C, D",
        "A B C D",
        "A or B",
        "B or C",
        "B/C",
        "B and D",
        "(A) (B) (C)",
        "A) Rome\nB) Paris\nC) Vitamin C",
        "B) Paris, C) Vitamin C",
        "A: no. B: yes. C: maybe",
        "Either B or C",
        "Z",
        "",
        "none of these",
    ],
)
def test_another_choice_or_a_list_of_them_earns_nothing(response: str) -> None:
    assert check("choice", response, "B", row=ROW, format_score=0.0).score == 0.0


def test_a_choice_whose_text_names_letters_can_be_chosen() -> None:
    assert check("choice", "C) Vitamin C", "C", row=ROW).score == 1.0
    assert check("choice", "D) A or B", "D", row=ROW).score == 1.0


def test_a_text_that_two_choices_have_names_neither() -> None:
    assert check("choice", "Rome", "A", row={"choices": ["Rome", "Rome"]}).score == 0.0


def test_a_list_in_a_box_has_not_even_the_form() -> None:
    assert check("choice", r"\boxed{A, B, C}", "C", format_score=0.1).score == 0.0
    assert check("choice", r"\boxed{A}", "C", format_score=0.1).score == 0.1


def test_without_the_texts_letters_are_enough() -> None:
    assert check("choice", "B) Paris", "B").score == 1.0
    assert check("choice", "(C) A cat", "C").score == 1.0


@pytest.mark.parametrize(
    "choices",
    [
        ["Rome", "Paris"],
        {"A": "Rome", "B": "Paris"},
        {"label": ["A", "B"], "text": ["Rome", "Paris"]},
    ],
)
def test_the_reference_may_be_the_text_of_a_choice(choices: object) -> None:
    row = {"choices": choices}

    assert check("choice", "B", "Paris", row=row).score == 1.0
    assert check("choice", "A", "Paris", row=row).score == 0.0


def test_a_reference_that_is_no_choice_cannot_be_compared() -> None:
    assert check("choice", "B", "Berlin", row=ROW).reason == "no_reference"
    assert check("choice", "B", "B", letters="XY").reason == "no_reference"
    assert check("choice", "B", "B", row={"choices": 7}).score == 1.0
