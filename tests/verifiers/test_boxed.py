import pytest

from tests.verifiers.checking import check


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (r"\boxed{18}", "18"),
        (r"\boxed{1,000}", "1000"),
        (r"\boxed{\frac{1}{2}}", "0.5"),
        (r"\boxed{x + 1}", "x+1"),
        (r"\boxed{\text{Evelyn}}", "Evelyn"),
        (r"\boxed{\left( 3, \frac{\pi}{2} \right)}", r"(3,\frac{\pi}{2})"),
        ("#### 18", r"so it is \boxed{18}."),
    ],
)
def test_the_same_in_a_box_is_right(response: str, reference: str) -> None:
    assert check("boxed", response, reference).score == 1.0


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (r"\boxed{2x}", "2"),
        (r"\boxed{2}", "2x"),
        (r"\boxed{17}", "18"),
        (r"\boxed{X}", "x"),
        (r"\boxed{}", "18"),
        ("18", "18"),
        ("the answer is 18", "18"),
    ],
)
def test_another_answer_or_one_without_a_mark_is_wrong(response: str, reference: str) -> None:
    assert check("boxed", response, reference).score == 0.0
