from fractions import Fraction

import pytest

from judge_service.values import Sample
from judge_service.verifiers import open_verifier
from judge_service.verifiers.number import number
from tests.verifiers.checking import check


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", Fraction(18)),
        ("-18.50", Fraction("-18.5")),
        ("\u22125", Fraction(-5)),
        ("$1,234,567.89", Fraction("1234567.89")),
        ("12,34,567.5", Fraction("1234567.5")),
        ("1{,}000", Fraction(1000)),
        (r"1\,000", Fraction(1000)),
        (".5", Fraction(1, 2)),
        ("3/4", Fraction(3, 4)),
        (r"-\frac{3}{4}", Fraction(-3, 4)),
        (r"\dfrac{3}{4}\text{ cups}", Fraction(3, 4)),
        ("1.5e3", Fraction(1500)),
        (r"1.5 \times 10^{3}", Fraction(1500)),
        ("2 x 10^-2", Fraction(1, 50)),
        ("18 dollars per day", Fraction(18)),
        ("x = 5", Fraction(5)),
        ("1.5 million people", Fraction(1_500_000)),
        ("$20 THOUSAND", Fraction(20_000)),
        ("5 m^2", Fraction(5)),
        ("about 7 H2O molecules", Fraction(7)),
        ("7 = 7.0", Fraction(7)),
        ("\u0661\u0668", Fraction(18)),
        (r"4\frac{3}{8}", Fraction(35, 8)),
        ("4 3/8 cups", Fraction(35, 8)),
        ("\u00be", Fraction(3, 4)),
        ("2\u00bd", Fraction(5, 2)),
        (r"-\$7", Fraction(-7)),
        ("\u20137", Fraction(-7)),
        ("minus 7 degrees", Fraction(-7)),
        ("2 500 000", Fraction(2_500_000)),
        ("3'400", Fraction(3400)),
        ("12,34,567", Fraction(1_234_567)),
        ("10\u2074", Fraction(10_000)),
        ("2^{10}", Fraction(1024)),
        ("5!", Fraction(120)),
        (r"\sqrt{49}", Fraction(7)),
        (r"\cfrac{2}{7}", Fraction(2, 7)),
        (r"\frac{2.5}{10}", Fraction(1, 4)),
        (r"{2 \over 9}", Fraction(2, 9)),
        ("7/-8", Fraction(-7, 8)),
        (r"3\cdot10^{5}", Fraction(300_000)),
        ("n = 12 + 30 = 42", Fraction(42)),
        ("42 (12 red and 30 blue ones)", Fraction(42)),
        ("7k", Fraction(7000)),
        ("2.5bn", Fraction(2_500_000_000)),
        ("4 dozen", Fraction(48)),
        ("42, which is the total", Fraction(42)),
    ],
)
def test_a_number_is_read_however_it_is_written(text: str, value: Fraction) -> None:
    found = number(text)

    assert found is not None
    assert found.value == value


@pytest.mark.parametrize(
    "text",
    [
        *("", "none", "17 or 18", "17, 18, 19", "5/0", "1.2.3", "1,5", "9" * 50),
        *(
            r"\sqrt{7}",
            r"4\pi",
            "7x",
            "7i",
            r"\pm 7",
            "> 7",
            r"\le 7",
            "not 7",
            "less than 7",
            "x^2",
        ),
        *(
            r"\frac{\pi}{4}",
            r"\log 7",
            "2 hours and 5 minutes",
            "9^{9^9}",
            "2^{100000}",
            "7" + "!" * 900,
            "2^" * 900 + "2",
        ),
    ],
)
def test_no_number_or_several_are_none(text: str) -> None:
    assert number(text) is None


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        ("50%", "50"),
        ("50%", "0.5"),
        ("1/2", "0.5"),
        ("50\\%", "50%"),
        ("18.0", "18"),
        ("work\n#### 1,000", "1000"),
        ("A: 18", "She makes 9 * 2 = <<9*2=18>>18\n#### 18"),
    ],
)
def test_the_same_number_in_another_form_is_right(response: str, reference: str) -> None:
    assert check("number", response, reference).score == 1.0


@pytest.mark.parametrize(
    ("response", "reference"),
    [
        (r"so it is \sqrt{7}", "7"),
        ("It takes 2 hours and 5 minutes.", "5"),
        ("It is 4 million.", "4"),
        ("17", "18"),
        ("18.01", "18"),
        ("-18", "18"),
        ("0.33", "1/3"),
        ("50", "0.5"),
        ("5/0", "0"),
    ],
)
def test_another_number_is_wrong(response: str, reference: str) -> None:
    assert check("number", response, reference).score == 0.0


def test_a_relative_tolerance_does_not_let_off_by_one_pass() -> None:
    assert check("number", "1000001", "1000000", relative_tolerance=0.01).score == 0.0
    assert check("number", "3.14", "3.14159", relative_tolerance=0.01).score == 1.0
    assert check("number", "3.10", "3.14159", relative_tolerance=0.01).score == 0.0


def test_an_absolute_tolerance_is_what_was_written() -> None:
    assert check("number", "10.3", "10", absolute_tolerance=0.3).score == 1.0
    assert check("number", "10.31", "10", absolute_tolerance=0.3).score == 0.0
    assert check("number", "11", "10", absolute_tolerance=1).score == 1.0


def test_listing_numbers_in_one_box_earns_nothing() -> None:
    assert check("number", r"\boxed{17, 18, 19}", "18", format_score=0.1).score == 0.0


def test_a_reference_without_a_number_cannot_be_compared() -> None:
    assert check("number", "18", "eighteen").reason == "no_reference"


def test_exponents_are_bounded() -> None:
    assert check("number", "1e999", "18").score == 0.0
    assert check("number", "1e9999999999", "18").score == 0.0


@pytest.mark.parametrize("kind", ["number", "math"])
async def test_indian_thousands_are_one_number_in_a_sentence(kind: str) -> None:
    verifier = open_verifier(kind, {})
    found = await verifier(Sample(response="In all it is 1,20,000 rupees.", reference="120000"))
    await verifier.aclose()

    assert found.score == 1.0
