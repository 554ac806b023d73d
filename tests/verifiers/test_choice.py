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


RIGHT: list[tuple[str, str, list[str]]] = [
    ("C) 0.8c", "C", ["2c", "c", "0.8c", "0.5c"]),
    ("A) O", "A", ["O", "A", "B", "AB"]),
    ("AB", "D", ["O", "A", "B", "AB"]),
    ("D) AB", "D", ["O", "A", "B", "AB"]),
    ("The answer is C.", "C", ["O", "A", "B", "AB"]),
    ("\\boxed{A}", "A", ["O", "A", "B", "AB"]),
    ("O", "A", ["O", "A", "B", "AB"]),
    ("-23", "B", ["\u221271", "\u221223", "23", "71"]),
    ("So \\boxed{\\langle H\\rangle \\ll \\Delta E} holds.\n\n**Answer: D**", "D", []),
    ("\\boxed{\\textbf{(D)}\\ 12}", "D", []),
    ("\\boxed{\\mathrm{D}}", "D", []),
    ("\\boxed{\\text{(B)}}", "B", []),
    ("$\\boxed{B}$", "B", []),
    ("\\boxed{B. 12}", "B", []),
    ("\\boxed{(E)\\ x = 5}", "E", []),
    ("The answer is (B) 12, not (C).", "B", []),
    ("B\n\nExplanation: vitamin C is not.", "B", []),
    ("正确答案选A", "A", []),
    ("故选A.", "A", []),
    ("正解はA", "A", []),
    ("\uff21", "A", []),
    ("故选\uff1aA", "A", []),
    ("정답은 B입니다", "B", []),
    ("答案\uff1a\uff22", "B", []),
    ("Therefore, B is correct.", "B", []),
    ("Thus (B) is the correct answer.", "B", []),
    ("A is incorrect, so B is correct.", "B", []),
    (
        "The answer is It is dry since May.",
        "B",
        ["Because it rains. Always", "It is dry since May", "Only in winter", "No one knows"],
    ),
    (
        "The answer is Because it rains. Always",
        "A",
        ["Because it rains. Always", "It is dry since May", "Only in winter", "No one knows"],
    ),
    ("I considered (A), but it is incorrect. Final answer: D.", "D", []),
    ("b. 4", "B", []),
    ("Since $\\alpha > 1$, it is B.", "B", []),
    ("The answer is B, because A is wrong.", "B", []),
    ("Option B: because the others fail", "B", []),
    ("The answer is $B$.", "B", []),
    ("It is not A but B", "B", []),
    ("**B**", "B", []),
    ("The correct option is C: vitamin C", "C", []),
    ("Choose (C)", "C", []),
]

WRONG: list[tuple[str, str, list[str]]] = [
    ("B", "C", ["2c", "c", "0.8c", "0.5c"]),
    ("B) c", "C", ["2c", "c", "0.8c", "0.5c"]),
    ("B) A", "A", ["O", "A", "B", "AB"]),
    ("23", "B", ["\u221271", "\u221223", "23", "71"]),
    ("-23", "C", ["\u221271", "\u221223", "23", "71"]),
    ("So \\boxed{\\langle H\\rangle \\ll \\Delta E} holds.\n\n**Answer: D**", "E", []),
    ("\\boxed{E = mc^2}", "E", []),
    ("\\boxed{x + C}", "C", []),
    ("\\boxed{\\vec{B}}", "B", []),
    ("\\boxed{\\frac{D}{2}}", "D", []),
    ("It is 25 °C", "C", []),
    ("The answer is (B) 12, not (C).", "C", []),
    ("Therefore, B is correct.", "C", []),
    ("B is not correct", "B", []),
    ("A is wrong.", "A", []),
    (
        "the answer is Only in winter",
        "B",
        ["Because it rains. Always", "It is dry since May", "Only in winter", "No one knows"],
    ),
    ("A\nB\nC", "A", []),
    ("B\nor\nC", "B", []),
    ("Answer: B or C", "B", []),
    ("Let f(A) = B. Hmm", "B", []),
    ("A or B", "A", []),
    ("not B", "B", []),
]


@pytest.mark.parametrize(("response", "reference", "texts"), RIGHT)
def test_a_choice_is_found_in_any_form(response: str, reference: str, texts: list[str]) -> None:
    assert check("choice", response, reference, row={"choices": texts}).score == 1.0


@pytest.mark.parametrize(("response", "reference", "texts"), WRONG)
def test_a_letter_that_is_not_the_choice_earns_nothing(
    response: str, reference: str, texts: list[str]
) -> None:
    assert check("choice", response, reference, row={"choices": texts}).score == 0.0


@pytest.mark.parametrize("reference", ["A", "B", "C"])
@pytest.mark.parametrize("joint", ["or", "and"])
@pytest.mark.parametrize(
    "said", ["{} {} {}", "Either {} {} {}", "It is {} {} {}.", "The answer is {} {} {}"]
)
def test_two_letters_are_no_answer_whichever_is_right(
    said: str, joint: str, reference: str
) -> None:
    for first, second in ("AB", "BA", "BC", "AC"):
        assert check("choice", said.format(first, joint, second), reference).score == 0.0


def test_two_letters_that_are_ruled_out_leave_the_third() -> None:
    assert check("choice", "A and B are wrong, so C", "C").score == 1.0
