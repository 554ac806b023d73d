import pytest

from tests.verifiers.checking import check


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("The answer is Paris.", "paris"),
        ("<answer>The  Hague</answer>", "the hague"),
        ("\\boxed{\\text{ELTON JOHN}}", "Elton John"),
        ("ﬁne", "fine"),
        ("\uff21\uff22\uff23", "abc"),
        ("Stra\u00dfe", "STRASSE"),
        ("“Yes!”", "yes"),
        ("1:30", "1:30"),
        ("-5", "-5"),
        ("well-known", "well known"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_typing_case_and_layout_do_not_matter(response: str, reference: str) -> None:
    assert check("exact", response, reference).score == 1.0


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("Paris, Texas", "Paris"),
        ("-5", "5"),
        ("3.14", "314"),
        ("5%", "5"),
        ("1:30", "130"),
        ("C++", "C"),
        ("Paris Rome Berlin", "Rome"),
    ],
)
def test_other_texts_are_wrong(response: str, reference: str) -> None:
    assert check("exact", response, reference).score == 0.0


def test_case_and_punctuation_matter_when_asked() -> None:
    assert check("exact", "paris", "Paris", keep_case=True).score == 0.0
    assert check("exact", "Paris!", "Paris", keep_punctuation=True).score == 0.0
    assert check("exact", "Paris!", "Paris!", keep_punctuation=True, keep_case=True).score == 1.0


def test_a_reference_of_punctuation_alone_cannot_be_compared() -> None:
    assert check("exact", "...", "?!").reason == "no_reference"
