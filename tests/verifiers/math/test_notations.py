"""Answers in many notations against references in others, and wrong ones that look like them."""

import pytest

from judge_service.verifiers.math.library import Mathematics

LIBRARY = Mathematics()

SAME = [
    # units, and letters that are none
    ("3s + 3s", "6s"),
    (r"\frac{g t^2}{2}", r"\frac12 g t^2"),
    (r"h\pi R^2", r"\pi R^2 h"),
    (r"12\text{ cm}", "12"),
    (r"12\,\mathrm{cm}^2", r"12\text{ cm}^2"),
    ("7 km/h", "7"),
    ("4 apples", "4"),
    # numbers
    ("4 3/8", "4.375"),
    (r"-5\tfrac{1}{4}", "-21/4"),
    ("¾", "0.75"),
    ("6⅔", "20/3"),
    ("2 500 000", "2500000"),
    ("12\u202f345", "12345"),
    ("3'400'000", "3400000"),
    ("1,23,45,678", "12345678"),
    (r"32,\!768", "32768"),
    ("4.5E-3", "0.0045"),
    ("7e2", "700"),
    (r"6.02\cdot 10^{23}", "6.02e23"),
    (r"0.1\overline{6}", r"\frac16"),
    (r"0.\dot{1}\dot{8}", r"\frac{2}{11}"),
    (r"0.272727\ldots", r"\frac{3}{11}"),
    ("2.5 million", "2500000"),
    ("0.166666666667", r"\frac16"),
    (r"\frac{1}{20!}", r"\frac{1}{2432902008176640000}"),
    # Unicode and calculators
    ("3√5 \u2212 1", r"3\sqrt{5}-1"),
    ("2^(1/2)", r"\sqrt2"),
    ("x³\u2212y⁻¹", r"x^3-\frac1y"),
    ("∛64", "4"),
    ("sqrt(3)/2", r"\frac{\sqrt3}{2}"),
    ("2*pi*r", r"2\pi r"),
    ("exp(-x)", "e^{-x}"),
    ("tan(x)*cos(x)", r"\sin x"),
    ("(x+1)**3", "x^3+3x^2+3x+1"),
    ("[0, ∞)", r"[0,\infty)"),
    ("x ≥ 4", r"[4,\infty)"),
    ("45°", "45"),
    # functions of degrees, of logarithms, of roots
    (r"\cos 60^\circ", r"\frac12"),
    (r"\sin(90^\circ - 20^\circ)", r"\cos 20^\circ"),
    (r"\sin^2 15^\circ", r"\frac{2-\sqrt3}{4}"),
    (r"\log_2 32", "5"),
    (r"2\ln b", r"\ln b^2"),
    (r"\frac{\sqrt p}{\sqrt q}", r"\sqrt{\frac pq}"),
    (r"\sqrt[3]{-27}", "-3"),
    (r"\binom{6}{2}", "15"),
    (r"\left|-4\right|", "4"),
    (r"\begin{vmatrix} 2 & 1 \\ 7 & 4 \end{vmatrix}", "1"),
    (r"\begin{pmatrix} 0.5 \\ 2 \end{pmatrix}", r"\begin{bmatrix} 1/2 \\ 2 \end{bmatrix}"),
    # equations and statements
    ("6x+9=0", "2x+3=0"),
    ("x-3y=1", "2=2x-6y"),
    (r"\frac{x}{4}-y=2", "x-4y=8"),
    ("y=1/x", "xy=1"),
    ("7-4x", "f(x)=7-4x"),
    ("a+b=3+8=11", "11"),
    ("n=4,6", "n=6,4"),
    (r"x=\pm 3", "x=3, x=-3"),
    (r"1\pm\sqrt2", r"1-\sqrt2, 1+\sqrt2"),
    # sets
    ("4 < t", "t > 4"),
    ("-1 < y \\le 3", "(-1,3]"),
    (r"x<-2 \text{ or } x\ge 5", r"[5,\infty)\cup(-\infty,-2)"),
    (r"\{n \mid n < 9\}", r"(-\infty,9)"),
    (r"x\in(0,1)", "(0,1)"),
    (r"\{4,7\}", "7 and 4"),
    (r"\emptyset", r"\{\}"),
    ("3x < 12", "x<4"),
    (r"-2t \le 6", r"[-3,\infty)"),
    (r"\sin^{-1}\frac12", r"\frac{\pi}{6}"),
    (r"{7 \choose 2}", "21"),
    ("0.7071067811865476", r"\frac{\sqrt2}{2}"),
    (r"\frac{\pi}{4}+k\pi, k\in\mathbb{Z}", r"k\pi+\frac{\pi}{4}"),
    (r"(-1)^{n+1}", r"-(-1)^{n}"),
]

DIFFERENT = [
    (r"\pi R^2", r"\pi R^2 h"),
    ("6", "6s"),
    ("4g", "4m"),
    ("x^2+y^2-3", "x^2+y^2-3xy"),
    (r"12\text{ cm}^3", r"12\text{ cm}^2"),
    ("5 kg", r"5\text{ lb}"),
    ("4 3/8", "43/8"),
    ("4 3/8", "7/8"),
    (r"3\cdot 10^{-22}", r"4\cdot 10^{-22}"),
    (r"\frac{1}{7^{70}}", r"\frac{1}{7^{71}}"),
    (r"1+3^{-90}", "1"),
    ("e^{-70}", "e^{-71}"),
    (r"(0, 2\cdot10^{-9})", r"(0, 3\cdot10^{-9})"),
    ("0.142857", "0.142858"),
    ("0.14", r"\frac17"),
    (r"0.\overline{6}", "0.6"),
    ("7e2", "19.03"),
    ("1 000", "0"),
    ("23, 456", "23456"),
    ("23456", "23, 456"),
    ("3, 12", "312"),
    (r"\sin 1", r"\sin 1^\circ"),
    ("√5", "5"),
    ("7²", "72"),
    ("x²", "x_2"),
    (r"|x|", "x"),
    (r"-\sqrt{pq}", r"\sqrt p\sqrt q"),
    (r"\sqrt{a+b}", r"\sqrt a+\sqrt b"),
    ("z^2+3=0", "z^2+5=0"),
    ("x^2+3=0", "w^2+5=0"),
    ("I=4", "I=6"),
    ("2x+3y=5", "5"),
    ("a=4", "a=4b"),
    ("3+4=8", "8"),
    (r"\{u \mid u>1\}", r"\{u \mid u>2\}"),
    ("x>4", "x<4"),
    ("-3x < 12", "x<-4"),
    (r"x>1, x\in\mathbb{Z}", "x>1"),
    (r"x\ge 4", "x>4"),
    ("(-∞, 4)", "4"),
    ("[1,2)", "(1,2]"),
    (r"[1,2]\cup[3,4]", "[1,2]"),
    ("1, x=\\pm 5", "2, x=\\pm 5"),
    ("4, 5", "4, 5, 6"),
    (r"5 ; 7\text{ kg}", r"5 ; 8\text{ kg}"),
    (r"\cos 2\approx -0.4", r"\cos 2\approx -0.3"),
    (r"1,4,\ldots,n", r"1,3,\ldots,n"),
    ("3:5", "5:3"),
]

UNREAD = [
    r"\foo{3}",
    "7 § 8",
    "at most 5 or so",
    "3 4",
    r"\frac{1}",
    "(2",
    "x=)",
    "1/0",
    r"9^{9^{9^9}}",
    "{" * 900 + "1" + "}" * 900,
    "",
    r"\text{if } x = 1 \text{ holds}",
]


@pytest.mark.parametrize(("answer", "reference"), SAME)
def test_the_same_in_another_notation_is_equal(answer: str, reference: str) -> None:
    assert LIBRARY.equal(answer, reference, 0.0) is True
    assert LIBRARY.equal(reference, answer, 0.0) is True


@pytest.mark.parametrize(("answer", "reference"), DIFFERENT)
def test_another_value_is_different(answer: str, reference: str) -> None:
    assert LIBRARY.equal(answer, reference, 0.0) is False
    assert LIBRARY.equal(reference, answer, 0.0) is False


@pytest.mark.parametrize("text", UNREAD)
def test_a_text_is_read_to_its_last_character_or_not_at_all(text: str) -> None:
    assert not LIBRARY.read(text)
    assert LIBRARY.equal(text, "7", 0.0) is None


@pytest.mark.parametrize(
    ("answer", "reference", "same"),
    [
        (r"\int_0^1 3x^2 dx", "1", True),
        (r"\sum_{k=1}^{4} k", "10", True),
        (r"\sum_{k=1}^{4} k", "11", False),
    ],
)
def test_the_library_is_asked_for_sums_and_integrals(
    answer: str, reference: str, same: bool
) -> None:
    assert LIBRARY.equal(answer, reference, 0.0) is same
